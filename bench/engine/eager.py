"""Posterior draws by the shipped binary beside PyTorch eager with the same weights, in one run.

Both get the same scan, the same number of draws and steps, and two threads. PyTorch computes what the
engine computes from the same weights file, by whole-tensor operations in inference mode, in whichever
of several batch sizes it is fastest, with a malloc that keeps its memory. The two must agree: the
quantiles of their draws may differ by no more than draws of that number do.

The denoiser is pre-norm residual FiLM (Perez et al. 2018) under the preconditioning of Karras et al.
2022; the sampler is DPM-Solver++(2M) of Lu et al. 2022.
"""

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Freed memory stays with the process: the default gives every large tensor back to the kernel and
# faults it in anew, which is a third of the time.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
SIGMA_MAX, SIGMA_MIN, RHO = 10.0, 5e-4, 7.0
BATCHES = (256, 1024, 10_000)
ALLOYS = ("Ti-6Al-4V", "316L", "IN718", "AlSi10Mg")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Both sides draw at random: the standard error of the median of 10,000 draws is 0.005 of a
# uniform's range, of the difference of two 0.007.
AGREEMENT = 0.03


class Eager:
    """The network of a bundle, for one scan."""

    def __init__(self, torch, model, analysis, alloy):
        from safetensors.torch import load_file

        self.torch = torch
        self.manifest = json.loads((model / "manifest.json").read_text())
        self.weights = load_file(model / "weights.safetensors")
        self.shape = self.manifest["architecture"]
        self.embedding = self.embed(analysis, alloy)

    def affine(self, name, x):
        return self.torch.addmm(self.weights[f"{name}.bias"], x, self.weights[f"{name}.weight"])

    def embed(self, analysis, alloy):
        torch, functional = self.torch, self.torch.nn.functional
        scaling = self.manifest["normaliser"]
        values = [analysis["descriptors"][name] for name in self.manifest["descriptors"]]
        normal = [
            max(-6.0, min(6.0, (value - mean) / sd))
            for value, mean, sd in zip(values, scaling["mean"], scaling["sd"])
        ]
        alloys = [float(name == alloy) for name in ALLOYS]
        # The process is laser powder bed fusion; machine and spot are not given.
        rest = [1.0, 0.0, 0.0] + [0.0] * 5 + [0.0, 0.0]
        x = torch.tensor([normal + alloys + rest])
        x = functional.silu(self.affine("embed.0", x))
        x = functional.silu(self.affine("embed.1", x))
        return self.affine("embed.2", x)

    def films(self, sigma):
        torch = self.torch
        count = self.shape["frequencies"]
        position = torch.arange(count, dtype=torch.float64) / (count - 1)
        angle = math.log(sigma) / 4.0 * 0.5 * 100.0**position
        features = torch.cat([angle.sin(), angle.cos()]).float()[None]
        known = torch.zeros(1, 10)
        joined = torch.cat([self.embedding, features, known], 1)
        code = torch.nn.functional.silu(self.affine("condition", joined))
        blocks = range(self.shape["blocks"])
        return [self.affine(f"block.{block}.film", code).chunk(2, 1) for block in blocks]

    def forward(self, films, x):
        torch, functional = self.torch, self.torch.nn.functional
        width = (self.shape["width"],)
        state = self.affine("input", torch.cat([x, torch.zeros_like(x)], 1))
        for block, (scale, shift) in enumerate(films):
            hidden = torch.addcmul(shift, functional.layer_norm(state, width, eps=1e-5), 1.0 + scale)
            hidden = functional.silu(self.affine(f"block.{block}.0", hidden))
            state = state + self.affine(f"block.{block}.1", hidden)
        return self.affine("output", functional.layer_norm(state, width, eps=1e-5))

    def draw(self, noise, steps, batch):
        """Draws of the latent from standard normal noise (draws, 5)."""
        torch = self.torch
        top, bottom = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
        levels = [(top + i / (steps - 1) * (bottom - top)) ** RHO for i in range(steps)] + [0.0]
        films = [self.films(sigma) for sigma in levels[:-1]]
        done = []
        for part in noise.split(batch):
            x = part * math.sqrt(SIGMA_MAX**2 + 1.0)
            before, last = None, None
            for (sigma, following), film in zip(zip(levels, levels[1:]), films):
                variance = sigma * sigma + 1.0
                raw = self.forward(film, (x / math.sqrt(variance)).float())
                now = x / variance + sigma / math.sqrt(variance) * raw
                denoised = now
                if following > 0.0:
                    step = math.log(sigma / following)
                    if last is not None:
                        denoised = now + step / (2.0 * last) * (now - before)
                    last = step
                keep = following / sigma
                x = keep * x + (1.0 - keep) * denoised
                before = now
            done.append(x)
        return torch.cat(done)


def units(draws, manifest, alloy):
    """Draws in physical units as positions in the prior's ranges, by parameter."""
    asked = ("lpbf", alloy)
    priors = manifest["alloys"]
    ranges = next(prior["ranges"] for prior in priors if (prior["process"], prior["alloy"]) == asked)
    columns = {}
    for name, values in draws.items():
        low, high = ranges[name]["low"], ranges[name]["high"]
        if ranges[name]["scale"] == "log":
            columns[name] = [math.log(v / low) / math.log(high / low) for v in values]
        else:
            columns[name] = [(v - low) / (high - low) for v in values]
    return columns


def quantiles(values):
    values = sorted(values)
    return [values[int(share * (len(values) - 1))] for share in QUANTILES]


def ours(given, folder, steps):
    """Seconds of the sampling phase, and the draws by column."""
    file = folder / "draws.csv"
    command = [given.binary, "design", given.scan, "--alloy", given.alloy, "--json"]
    command += ["--samples", str(given.draws), "--steps", str(steps), "--draws", file]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(given.threads)}
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    columns = {name: [float(row[name]) for row in rows] for name in rows[0]}
    return json.loads(ran.stdout)["timings_ms"]["sample"] / 1e3, columns


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/lpbf-descriptors"))
    parser.add_argument("--scan", type=Path, default=Path("fixtures/lack-of-fusion.tif"))
    parser.add_argument("--alloy", default="Ti-6Al-4V")
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--steps", type=int, nargs="+", default=[32, 50])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execvpe(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    import torch

    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    command = [given.binary, "analyze", given.scan, "--json"]
    analysis = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    print(f"PyTorch {torch.__version__}, {given.threads} threads, {given.draws} draws, medians of "
          f"{given.rounds} alternating rounds\n")
    print("| steps | this engine, s | PyTorch eager, s | batch | ratio | largest gap of a quantile |")
    print("|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        eager = Eager(torch, given.model, analysis, given.alloy)
        for steps in given.steps:
            print(row(given, Path(folder), torch, eager, steps), flush=True)


def row(given, folder, torch, eager, steps):
    mine, theirs = [], {batch: [] for batch in BATCHES}
    for turn in range(given.rounds + 1):
        seconds, columns = ours(given, folder, steps)
        timed = [(mine, seconds)]
        for batch in BATCHES:
            noise = torch.randn(given.draws, 5, dtype=torch.float64)
            began = time.perf_counter()
            latent = eager.draw(noise, steps, batch)
            timed.append((theirs[batch], time.perf_counter() - began))
        # The first round warms caches on both sides.
        if turn > 0:
            for figures, seconds in timed:
                figures.append(seconds)
    positions = units(columns, eager.manifest, given.alloy)
    names = list(positions)
    cdf = torch.special.ndtr(latent)
    gap = max(
        abs(a - b)
        for i, name in enumerate(names)
        for a, b in zip(quantiles(positions[name]), quantiles(cdf[:, i].tolist()))
    )
    if gap > AGREEMENT:
        raise SystemExit(f"the draws differ by {gap:.3f} of the prior's range: not the same model")
    batch = min(BATCHES, key=lambda batch: statistics.median(theirs[batch]))
    own, other = statistics.median(mine), statistics.median(theirs[batch])
    return f"| {steps} | {own:.3f} | {other:.3f} | {batch} | {other / own:.2f} | {gap:.3f} |"


if __name__ == "__main__":
    main()
