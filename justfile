# The only door: what a person runs and what CI runs are the same recipes. `just` lists them.
# `just tools` installs what the recipes need beyond the Rust toolchain and a C compiler.

set shell := ["bash", "-euo", "pipefail", "-c"]

cargo_deny_version := "0.20.2"

# List the recipes
[private]
default:
    @just --list --unsorted

# Build the binary as it is shipped
build:
    cargo build --locked --release -p microdiff-cli

# Run every test of the serving build: the test command of the README
test:
    cargo test --workspace --locked

# Run the tests that need the training framework
train-test:
    cargo test --locked -p microdiff-diffusion --features train

# Run the models of the concurrent code: every order of steps, under loom
loom:
    cargo test --locked --manifest-path crates/telemetry/loom/Cargo.toml --target-dir target/loom --lib loom

# Run each fuzz target for so many seconds; needs a C++ compiler for libFuzzer
fuzz seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    # The instrumentation that cargo-fuzz asks for, without a sanitizer, works with any compiler.
    host=$(rustc --print host-tuple)
    RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C codegen-units=1 -C debug-assertions=yes \
      -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
      -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares" \
      cargo build --release --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --target "$host"
    for source in fuzz/fuzz_targets/*.rs; do
      target=$(basename "$source" .rs)
      mkdir -p "target/fuzz/corpus/$target" "target/fuzz/artifacts/$target"
      "target/fuzz/$host/release/$target" "target/fuzz/corpus/$target" \
        -artifact_prefix="target/fuzz/artifacts/$target/" -max_total_time={{ seconds }} -print_final_stats=1
    done

# Check the formatting
fmt:
    cargo fmt --all --check

# Check the lints of the workspace, once more with the training code, and those of the benchmarks
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    cargo clippy --all-targets --locked --manifest-path bench/Cargo.toml --target-dir target/bench -- -D warnings

# Check formatting and lints
lint: fmt clippy

# Check dependency direction, sizes, names, links, and that generated files are up to date
tidy:
    cargo run --quiet --locked -p xtask -- tidy
    cargo run --quiet --locked -p xtask -- generate --check

# Make the files that are made from others: the Kubernetes manifest of the Prometheus rules
generate:
    cargo run --quiet --locked -p xtask -- generate

# Check rules, alerts, routes and dashboards of deploy/ with promtool, amtool and tsc
kit:
    bash .ci/kit

# Check the manifests of deploy/ as kubectl renders them, against schemas of Kubernetes and the operator
kubernetes:
    bash .ci/kubernetes/check

# Run the pipelines of deploy/ and `observability verify` on real servers; builds them the first time
servers-test:
    .ci/servers/get otelcol jaeger opensearch
    cargo test --locked -p microdiff-cli --features real-servers --test servers

# Build the image's root file system with the static binary and run it under chroot; needs root
image:
    bash .ci/image

# Check bans, licences and sources: the shipped graph, then the one with training
deny:
    cargo fetch --locked
    cargo deny --offline --locked check --hide-inclusion-graph bans licenses sources
    cargo deny --offline --locked --all-features check --hide-inclusion-graph licenses sources

# Check for published security advisories; needs a network that reaches the advisory database
advisories:
    cargo deny --all-features --locked check advisories

# Write the committed expected outputs anew; read the difference before committing it
goldens:
    UPDATE_GOLDEN=1 bash .ci/kubernetes/check
    UPDATE_GOLDEN=1 cargo test --workspace --locked

# Run the released binary and print the figures that docs/benchmarks.md records
bench: build
    cargo run --quiet --locked -p xtask -- bench

# Measure the telemetry crate beside its peers: ratios in one run, for docs/benchmarks.md
bench-telemetry *sections:
    python3 -m venv target/bench-python
    target/bench-python/bin/pip install --quiet --requirement bench/requirements.txt
    cargo build --quiet --locked --release --manifest-path bench/Cargo.toml --target-dir target/bench
    BENCH_PYTHON=target/bench-python/bin/python target/bench/release/telemetry-bench {{ sections }}

# Measure posterior draws beside PyTorch eager with the same weights; installs PyTorch (5 GB)
bench-engine: build
    python3 -m venv target/bench-engine-python
    target/bench-engine-python/bin/pip install --quiet --requirement bench/engine/requirements.txt
    target/bench-engine-python/bin/python bench/engine/eager.py target/release/microdiff

# Measure the imaging kernels beside their peers on two threads: a table, for docs/benchmarks.md
bench-imaging *edges="256 512":
    python3 -m venv target/bench-imaging-python
    target/bench-imaging-python/bin/pip install --quiet --requirement bench/imaging/requirements.txt
    cargo build --quiet --locked --release -p microdiff-imaging --example kernels
    target/bench-imaging-python/bin/python bench/imaging/compare.py target/release/examples/kernels {{ edges }}

# Measure table mode on public tasks of simulation-based inference, for docs/benchmarks.md
bench-sbi binary="target/release/microdiff" *options:
    python3 -m venv target/bench-sbi-python
    target/bench-sbi-python/bin/pip install --quiet --requirement bench/sbi/requirements.txt
    target/bench-sbi-python/bin/python bench/sbi/run.py --binary {{ binary }} {{ options }}

# Check the posteriors that bench-sbi compares with
bench-sbi-check:
    python3 -m venv target/bench-sbi-python
    target/bench-sbi-python/bin/pip install --quiet --requirement bench/sbi/requirements.txt
    target/bench-sbi-python/bin/python bench/sbi/run.py --check

# Try the out-of-distribution check on foreign scans: a table, for docs/validation.md
foreign count="200":
    cargo run --release --locked -p microdiff-cli -- evaluate --foreign {{ count }} \
        --simulations 2000 --simulation-seed 2 --page docs/validation.md

# Make the bundled model anew: simulate, train, evaluate (three quarters of an hour on two cores); then `just record`
train:
    cargo run --release --locked -p microdiff-cli --features train -- train \
        --simulations 24000 --simulation-seed 1 --rows target/training.rows --held-out 2000 \
        --output models/lpbf-descriptors

# Score the bundled model beside its rivals, into docs/validation.md; takes the rows that `just train` left
bench-posterior rows="target/training.rows" held="target/training.held-out.rows" scans="2000":
    python3 -m venv target/bench-posterior-python
    target/bench-posterior-python/bin/pip install --quiet --requirement bench/posterior/requirements.txt
    cargo run --release --locked -p microdiff-cli -- evaluate --samples 256 --json \
        --simulations {{ scans }} --simulation-seed 2 --rows {{ held }} --against {{ rows }} \
        --export target/bench-posterior --page docs/validation.md > target/bench-posterior.json
    target/bench-posterior-python/bin/python bench/posterior/compare.py \
        target/bench-posterior target/bench-posterior.json --page docs/validation.md

# Does a learned embedding of the volume beat descriptors alone? Tables for the record on it; installs PyTorch (5 GB)
bench-embedding simulations="3583" *options:
    python3 -m venv target/bench-embedding-python
    target/bench-embedding-python/bin/pip install --quiet --requirement bench/embedding/requirements.txt
    [ -f target/bench-embedding/volumes.json ] || cargo run --release --locked -p microdiff-design \
        --example volumes -- {{ simulations }} 11 target/bench-embedding
    target/bench-embedding-python/bin/python bench/embedding/study.py target/bench-embedding {{ options }}

# Make the bundled model's validation set anew, without touching the model (some minutes)
record:
    cargo run --release --locked -p microdiff-cli -- record \
        --simulations 3000 --simulation-seed 3 --model models/lpbf-descriptors

# Compare the imaging kernels with scipy, scikit-image, cc3d and edt (needs Python with venv)
imaging-agreement:
    python3 -m venv target/agreement-python
    target/agreement-python/bin/pip install --quiet --requirement crates/imaging/tests/agreement/requirements.txt
    rm -rf target/agreement
    cargo run --quiet --locked -p microdiff-imaging --example kernels -- agreement target/agreement
    target/agreement-python/bin/python crates/imaging/tests/agreement/agree.py target/agreement

# Put the physics section into docs/validation.md anew, from a directory of measurements
validate-physics data:
    cargo run --release --locked -p microdiff-cli -- validate-physics \
        --data {{ data }} --page docs/validation.md

# Put the table of the simulated scanner beside a real scan of 16 bit into docs/validation.md anew
validate-scanner scan:
    cargo run --release --locked -p microdiff-design --example scanner -- {{ scan }} docs/validation.md

# Install the tools that the recipes call
tools:
    cargo install --locked --version {{ cargo_deny_version }} cargo-deny

# Run everything that CI runs, in its order
ci:
    bash .ci/run
