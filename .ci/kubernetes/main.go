// `kubectl kustomize` as a kubectl of its own: the very command of the release that go.mod names,
// without the rest of kubectl, which takes minutes to build and wants a cluster.
package main

import (
	"os"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/cmd/kustomize"
)

func main() {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if kustomize.NewCmdKustomize(streams).Execute() != nil {
		os.Exit(1)
	}
}
