"""Trains and asks the real binary on the public tasks and holds its draws against exact posteriors.

    run.py --binary target/release/microdiff            the table of docs/benchmarks.md
    run.py --check                                      the references against what they should be

Every task gets the same command line: names of columns, a seed, nothing else. Exits with 1 if a bar is missed.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One thread a classifier: otherwise the timings of one run disturb the next.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from c2st import c2st
from tasks import OBSERVATIONS, TASKS

DRAWS = 10_000
# Most C2ST, as a mean over observations, by task and training rows.
BARS = {
    ("two_moons", 10_000): 0.53,
    ("gaussian_mixture", 10_000): 0.56,
    ("slcp", 10_000): 0.83,
    ("gaussian_linear", 10_000): 0.54,
    ("slcp", 50_000): 0.74,
}


def write_csv(path, names, rows):
    np.savetxt(path, rows, delimiter=",", header=",".join(names), comments="", fmt="%.9g")


def run(command):
    """Wall and CPU seconds of a command that must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu


def train(binary, task, rows, seed, directory):
    rng = np.random.default_rng([seed, rows, task.parameters, task.observables])
    theta = task.draw_prior(rows, rng)
    names = [f"theta{i + 1}" for i in range(task.parameters)], [f"x{i + 1}" for i in range(task.observables)]
    table = directory / "train.csv"
    write_csv(table, sum(names, []), np.hstack([theta, task.simulate(theta, rng)]))
    command = [binary, "train", "--table", table, "--parameters", ",".join(names[0])]
    command += ["--observables", ",".join(names[1]), "--output", directory / "model", "--seed", seed]
    return run(command)


def draw(binary, task, x, directory):
    names = [f"x{i + 1}" for i in range(task.observables)]
    observation, output = directory / "observation.csv", directory / "draws.csv"
    write_csv(observation, names, [x])
    command = [binary, "design", "--model", directory / "model", "--observation", observation]
    times = run(command + ["--samples", DRAWS, "--output", output])
    return np.loadtxt(output, delimiter=",", skiprows=1), times


def measure(options, name, rows):
    task, scores, walls = TASKS[name], [], []
    with tempfile.TemporaryDirectory() as place:
        directory = (options.models or Path(place)) / f"{name}-{rows}-{options.seed}"
        directory.mkdir(parents=True, exist_ok=True)
        training = "kept | "
        if not (directory / "model").exists():
            training = "{:.0f} s | {:.0f} s".format(*train(options.binary, task, rows, options.seed, directory))
        for number, x in enumerate(OBSERVATIONS[name][: options.observations], start=1):
            draws, (took, _) = draw(options.binary, task, x, directory)
            reference = task.reference(x, DRAWS, np.random.default_rng([7, number]))
            scores.append(c2st(reference, draws))
            walls.append(took)
    mean, bar = np.mean(scores), BARS[name, rows]
    each = ", ".join(f"{score:.3f}" for score in scores)
    verdict = "met" if mean <= bar else "missed"
    print(
        f"| {name} | {rows:,} | {each} | {mean:.3f} | {bar} | {verdict} | {training} | "
        f"{max(walls):.2f} s |",
        flush=True,
    )
    return mean <= bar


def check():
    """Two samples of each reference, and the only one that a Markov chain makes against exact draws."""
    for name, task in TASKS.items():
        for number, x in enumerate(OBSERVATIONS[name][:3], start=1):
            rngs = [np.random.default_rng([seed, number]) for seed in (1, 2, 3)]
            first, second = (task.reference(x, DRAWS, rng) for rng in rngs[:2])
            line = f"{name} {number}: two samples {c2st(first, second):.3f}"
            if name == "slcp":
                exact = task.rejection(x, 30_000_000, rngs[2])
                few = min(len(exact), DRAWS)
                line += f", {few} exact draws {c2st(exact[:few], first[:few]):.3f}"
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tasks", nargs="+", metavar="NAME:ROWS", help="default: every task that has a bar")
    parser.add_argument("--models", type=Path, help="keep the models here, and use those that are here already")
    parser.add_argument("--observations", type=int, default=10, help="how many of the ten published ones")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.check:
        return check()
    if options.binary is None:
        parser.error("--binary or --check is needed")
    chosen = list(BARS)
    if options.tasks:
        chosen = [(name, int(rows)) for name, rows in (task.split(":") for task in options.tasks)]
    print("| task | rows | C2ST by observation | mean | bar | | training, wall | CPU | 10,000 draws |")
    print("|---|---:|---|---:|---:|---|---:|---:|---:|", flush=True)
    # A list, so that one miss does not end the run.
    if not all([measure(options, name, rows) for name, rows in chosen]):
        sys.exit(1)


if __name__ == "__main__":
    main()
