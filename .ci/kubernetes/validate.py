"""Rendered manifests held against the schemas of the API servers that are to take them.

Kinds of Kubernetes are read by the schemas of its releases, those of the Prometheus operator by the
OpenAPI schemas of its CustomResourceDefinitions. An API server drops a field that it does not know;
here that is a fault, as is a manifest of a kind that no schema knows. Once everything is valid, one
mistake after the other is made in the same manifests, and each must be refused: otherwise the check
sees nothing, and that is its failure.

Looks at one manifest at a time: what names what is for the tests of the repository.
"""

import argparse
import copy
import json
import sys
from collections import namedtuple
from functools import cache
from pathlib import Path

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

OPERATOR_GROUP = "monitoring.coreos.com"
ABSENT = object()

Mistake = namedtuple("Mistake", "kind place value refusal")
REQUIRED = "is a required property"
MISTAKES = [
    Mistake("Deployment", "spec/template/spec/containers/0/livenessProb", {}, "unexpected"),
    Mistake("Deployment", "spec/minReadySeconds", "10", "'10' is not of type"),
    Mistake("Deployment", "spec/selector", ABSENT, REQUIRED),
    Mistake("Deployment", "spec/template/spec/containers/0/name", ABSENT, REQUIRED),
    Mistake("Service", "spec/ports/0/targetport", "http", "unexpected"),
    Mistake("ConfigMap", "data/microdiff.toml", 5, "5 is not of type"),
    Mistake("NetworkPolicy", "spec/ingress/1/form", [], "unexpected"),
    Mistake("PodDisruptionBudget", "apiVersion", "policy/v1beta1", "Couldn't find schema"),
    Mistake("HorizontalPodAutoscaler", "spec/maxReplicas", ABSENT, REQUIRED),
    Mistake("PodMonitor", "apiVersion", "monitoring.coreos.com/v2", "Couldn't find schema"),
    Mistake("PodMonitor", "metadata/label", {}, "unexpected"),
    Mistake("PodMonitor", "spec/podMetricsEndpoints/0/targetport", "metrics", "unexpected"),
    Mistake("PodMonitor", "spec/podMetricsEndpoints/0/interval", "5 s", "does not match"),
    Mistake("PodMonitor", "spec/podMetricsEndpoints/0/relabelings/0/action", "set", "is not one of"),
    Mistake("PodMonitor", "spec/selector", ABSENT, REQUIRED),
    Mistake("PrometheusRule", "spec/groups/0/rules/0/severity", "page", "unexpected"),
    Mistake("PrometheusRule", "spec/groups/0/rules", "none", "'none' is not of type"),
    Mistake("PrometheusRule", "spec/groups/0/rules/0/expr", ABSENT, REQUIRED),
    Mistake("PrometheusRule", "spec/groups/1/name", "microdiff.availability", "is there twice"),
]


class Kubernetes:
    """The kinds of one release of Kubernetes."""

    def __init__(self, version):
        self.version = version
        self.name = f"Kubernetes {version}"

    def fault(self, manifest):
        """What is wrong with a manifest; None when nothing is."""
        try:
            used = kubernetes_validate.validate(manifest, self.version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return told(error)
        except kubernetes_validate.SchemaNotFoundError as error:
            return error.message
        # The package falls back to the newest release that it knows.
        return None if used == self.version else f"there are no schemas of {self.version}"


class Operator:
    """The kinds of one release of the Prometheus operator."""

    def __init__(self, version, folder, kubernetes):
        self.name = f"operator {version}"
        self.folder = Path(folder)
        self.kubernetes = kubernetes

    @cache
    def schema(self, version, kind):
        """The schema of a kind, strict; None where the release has none."""
        file = self.folder / f"{OPERATOR_GROUP}_{kind.lower()}s.yaml"
        if not file.exists():
            return None
        spec = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        if spec["group"] != OPERATOR_GROUP or spec["names"]["kind"] != kind:
            return None
        served = {one["name"]: one["schema"] for one in spec["versions"] if one["served"]}
        if version not in served:
            return None
        schema = strict(served[version]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        return schema

    def fault(self, manifest):
        """What is wrong with a manifest; None when nothing is."""
        version = manifest["apiVersion"].removeprefix(f"{OPERATOR_GROUP}/")
        schema = self.schema(version, manifest["kind"])
        if schema is None:
            return f"Couldn't find schema for {manifest['kind']} {version}"
        # The metadata of every kind is that of Kubernetes.
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest["metadata"]}
        if (wrong := self.kubernetes.fault(head)) is not None:
            return wrong
        errors = sorted(STRUCTURAL(schema).iter_errors(manifest), key=lambda error: error.json_path)
        return "; ".join(map(told, errors)) or None


def told(error):
    place = "/".join(map(str, error.path))
    return f"{place}: {error.message}"


def unique_by(_validator, keys, items, _schema):
    """The keyword of lists that are maps: no two items have the same keys."""
    seen = set()
    for item in items if isinstance(items, list) else []:
        key = json.dumps([item.get(key) for key in keys])
        if key in seen:
            yield ValidationError(f"an item with {', '.join(keys)} {key} is there twice")
        seen.add(key)


STRUCTURAL = validators.extend(Draft202012Validator, {"x-kubernetes-list-map-keys": unique_by})


def strict(schema):
    """A structural schema as JSON Schema that refuses what an API server would drop."""
    if "x-kubernetes-validations" in schema:
        raise SystemExit("the schema has rules in CEL, which nothing here evaluates")
    schema = dict(schema)
    if "properties" in schema:
        properties = schema["properties"].items()
        schema["properties"] = {name: strict(value) for name, value in properties}
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            schema[inner] = strict(schema[inner])
    if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-list-type") == "set":
        schema["uniqueItems"] = True
    if schema.get("nullable") and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def mistaken(manifest, place, value):
    """A copy of a manifest with one value set, or taken away."""
    manifest = copy.deepcopy(manifest)
    *way, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    inside = manifest
    for part in way:
        inside = inside[part]
    if value is ABSENT:
        del inside[last]
    else:
        inside[last] = value
    return manifest


def mistakes_in(manifests):
    """Every mistaken manifest with what its refusal has to say."""
    for manifest in manifests:
        yield mistaken(manifest, "unheardOf", 1), "unexpected"
    for kind, place, value, refusal in MISTAKES:
        if all(manifest["kind"] != kind for manifest in manifests):
            raise SystemExit(f"no manifest is a {kind} to make a mistake in")
        for manifest in manifests:
            if manifest["kind"] == kind:
                yield mistaken(manifest, place, value), refusal


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubernetes", action="append", required=True, metavar="VERSION")
    parser.add_argument("--operator", action="append", required=True, metavar="VERSION=FOLDER")
    parser.add_argument("files", nargs="+", type=Path)
    return parser.parse_args()


def main():
    given = arguments()
    kubernetes = [Kubernetes(version) for version in given.kubernetes]
    operators = [Operator(*one.split("=", 1), kubernetes[0]) for one in given.operator]

    def faults(manifest):
        ours = manifest["apiVersion"].startswith(f"{OPERATOR_GROUP}/")
        for release in operators if ours else kubernetes:
            yield release.name, release.fault(manifest)

    valid = refused = wrong = 0
    for file in given.files:
        manifests = list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
        for manifest in manifests:
            for release, fault in faults(manifest):
                valid += 1
                if fault is not None:
                    wrong += 1
                    told_as = f"{file.name}: {manifest['kind']} for {release}"
                    print(f"{told_as}: {fault}", file=sys.stderr)
    if wrong:
        raise SystemExit(1)
    for manifest, refusal in mistakes_in(manifests):
        for release, fault in faults(manifest):
            refused += 1
            if fault is None or refusal not in fault:
                raise SystemExit(
                    f"{release} should refuse a mistaken {manifest['kind']} with {refusal!r}, "
                    f"and gives {fault!r}: the check sees nothing"
                )
    print(f"kubernetes: {valid} readings of a manifest find no fault, {refused} mistakes refused")


if __name__ == "__main__":
    main()
