"""Does a learned embedding of the volume beat descriptors alone?

Posteriors with the same denoiser, trained on the same simulations for the same number of steps: one is told the
descriptors, one an embedding of the voxels that is learned with it, one both. All are told process, alloy, spot and
the size of the scan. Scored on simulations that none of them saw, by process and regime: skill, that is one less the
continuous ranked probability score over that of the prior, and the coverage of 90 % intervals.

What was scored is kept in FOLDER, so a study that was cut short goes on where it stood. The tables come from all that
is kept there.
"""

import argparse
import json
import math
import re
import time
from pathlib import Path

import numpy
import torch
from torch import nn

REGIMES = ["dense", "lack of fusion", "keyhole", "balling"]
PARAMETERS = ["laser power", "scan speed", "layer thickness", "hatch spacing", "bed temperature"]
VARIANTS = ["descriptors", "voxels", "descriptors+voxels"]
# Shares of the rows that are not learned from: the weights are chosen on the first and scored on the second.
CHOOSING, SCORED = 0.06, 0.2
# Scans in a step, and noise levels of each: the volume is the expensive part of a row.
BATCH, NOISES = 32, 16
DRAWS, SAMPLER_STEPS = 64, 24
WIDTH, BLOCKS, FREQUENCIES, CODE = 128, 4, 16, 128
PATCH, CHANNELS = 4, (32, 48, 64)
# A regime with fewer scans gets no line.
FEWEST = 20


class Simulations:
    """What the example `volumes` of microdiff-design wrote."""

    def __init__(self, folder):
        names = (folder / "rows.csv").open().readline().strip().split(",")
        rows = numpy.loadtxt(folder / "rows.csv", delimiter=",", skiprows=1)
        shape = json.loads((folder / "volumes.json").read_text())["shape"]
        self.voxels = numpy.memmap(folder / "volumes.u8", numpy.uint8, "r", shape=(len(rows), *shape))
        choosing, scored = int(CHOOSING * len(rows)), int(SCORED * len(rows))
        self.learned = len(rows) - choosing - scored
        if choosing < BATCH:
            raise SystemExit(f"{len(rows)} simulations are too few, take {math.ceil(BATCH / CHOOSING)} or more")
        self.choosing = torch.arange(self.learned, self.learned + choosing)
        self.scored = torch.arange(self.learned + choosing, len(rows))
        columns = lambda *prefixes: [i for i, name in enumerate(names) if name.startswith(prefixes)]
        self.position = torch.tensor(rows[:, columns("position_")]).clamp(1e-6, 1 - 1e-6)
        self.latent = (math.sqrt(2) * torch.erfinv(2 * self.position - 1)).float()
        self.position = self.position.float()
        self.regime = torch.tensor(rows[:, names.index("class")]).long()
        process = columns("process_")
        self.processes = [names[i].removeprefix("process_") for i in process]
        self.process = torch.tensor(rows[:, process]).argmax(1)
        self.alloy = torch.tensor(rows[:, columns("alloy_")]).argmax(1)
        # A scan turned by a quarter about the build direction has width and depth exchanged.
        turn = numpy.arange(len(names))
        for a, b in (("ln_edge_y", "ln_edge_x"), ("descriptor_ln_extent_y", "descriptor_ln_extent_x")):
            turn[[names.index(a), names.index(b)]] = names.index(b), names.index(a)
        context, descriptors = columns("process_", "alloy_", "ln_"), columns("descriptor_")
        mean, sd = (f(rows[: self.learned, descriptors], 0) for f in (numpy.mean, numpy.std))
        self.tables = {}
        for turned, table in ((False, rows), (True, rows[:, turn])):
            scaled = numpy.clip((table[:, descriptors] - mean) / numpy.where(sd > 1e-6, sd, 1), -6, 6)
            self.tables[turned] = [torch.tensor(t, dtype=torch.float32) for t in (table[:, context], scaled)]
        self.context, self.descriptors = len(context), len(descriptors)

    def inputs(self, rows, sees, generator=None):
        """Context, descriptors and voxels; with a generator turned and mirrored at random, which changes nothing
        about how likely a scan is."""
        flips = (torch.rand(3, generator=generator) < 0.5).tolist() if generator else [False] * 3
        context, descriptors = self.tables[flips[2]]
        voxels = None
        if "voxels" in sees:
            voxels = torch.from_numpy(self.voxels[rows.numpy()])
            voxels = voxels.transpose(2, 3) if flips[2] else voxels
            voxels = voxels.flip([axis for axis, flip in zip((2, 3), flips) if flip])
            voxels = voxels.float().sub_(127.5).mul_(4 / 255)
        return context[rows], descriptors[rows], voxels


class Voxels(nn.Module):
    """A linear map of each patch of voxels, two strided 3-D convolutions, then mean and maximum over the volume."""

    def __init__(self, edge):
        super().__init__()
        self.along, (first, *widths) = edge // PATCH, CHANNELS
        self.patches = nn.Linear(PATCH**3, first)
        channels = zip(CHANNELS, widths)
        self.layers = nn.ModuleList(nn.Conv3d(a, b, 3, stride=2, padding=1) for a, b in channels)
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for width in widths)
        self.out = nn.Linear(2 * widths[-1], CODE)

    def forward(self, x):
        n = self.along
        x = x.reshape(-1, n, PATCH, n, PATCH, n, PATCH).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, n, n, n, PATCH**3)
        x = nn.functional.silu(self.patches(x)).permute(0, 4, 1, 2, 3)
        for layer, norm in zip(self.layers, self.norms):
            x = nn.functional.silu(norm(layer(x)))
        x = x.flatten(2)
        return self.out(torch.cat([x.mean(2), x.amax(2)], 1))


class Posterior(nn.Module):
    """Denoiser of five parameters under the preconditioning of Karras et al. 2022, conditioned by FiLM."""

    def __init__(self, data, sees):
        super().__init__()
        self.sees = sees.split("+")
        self.voxels = Voxels(data.voxels.shape[1]) if "voxels" in self.sees else None
        inputs = data.context
        inputs += data.descriptors if "descriptors" in self.sees else 0
        inputs += CODE if self.voxels else 0
        act = nn.SiLU
        self.embed = nn.Sequential(nn.Linear(inputs, 256), act(), nn.Linear(256, 256), act(), nn.Linear(256, CODE))
        self.join = nn.Sequential(act(), nn.Linear(CODE + 2 * FREQUENCIES, CODE), act())
        self.input = nn.Linear(5, WIDTH)
        self.films = nn.ModuleList(nn.Linear(CODE, 2 * WIDTH) for _ in range(BLOCKS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, elementwise_affine=False) for _ in range(BLOCKS))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), act(), nn.Linear(WIDTH, WIDTH)) for _ in range(BLOCKS)
        )
        self.output = nn.Linear(WIDTH, 5)
        for layer in [block[2] for block in self.blocks] + [self.output]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def code(self, context, descriptors, voxels):
        seen = [context]
        if "descriptors" in self.sees:
            seen.append(descriptors)
        if self.voxels:
            seen.append(self.voxels(voxels))
        return self.embed(torch.cat(seen, 1))

    def forward(self, code, scaled, log_sigma):
        angles = log_sigma[:, None] / 4 * 0.5 * 100 ** torch.linspace(0, 1, FREQUENCIES)
        joined = self.join(torch.cat([code, angles.sin(), angles.cos()], 1))
        x = self.input(scaled)
        for film, norm, block in zip(self.films, self.norms, self.blocks):
            scale, shift = film(joined).chunk(2, 1)
            x = x + block(norm(x) * (1 + scale) + shift)
        return self.output(nn.functional.silu(x))


def denoising_loss(model, data, rows, turns, noise_from):
    code = model.code(*data.inputs(rows, model.sees, turns)).repeat(NOISES, 1)
    latent = data.latent[rows].repeat(NOISES, 1)
    sigma = (-1.2 + 1.8 * torch.randn(len(latent), generator=noise_from)).exp().clamp(2e-4, 20)
    noise = torch.randn(latent.shape, generator=noise_from)
    scale = (sigma**2 + 1).sqrt()[:, None]
    target = (sigma[:, None] * latent - noise) / scale
    out = model(code, (latent + sigma[:, None] * noise) / scale, sigma.log())
    return ((out - target) ** 2).mean()


@torch.no_grad()
def chosen_by(model, data):
    noise_from = torch.Generator().manual_seed(5)
    losses = [denoising_loss(model, data, rows, None, noise_from) for rows in data.choosing.split(100)]
    return torch.stack(losses).mean().item()


def train(data, sees, steps, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Posterior(data, sees)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept, order = math.inf, None, torch.empty(0, dtype=torch.long)
    for step in range(1, steps + 1):
        if len(order) < BATCH:
            order = torch.randperm(data.learned, generator=generator)
        rows, order = order[:BATCH], order[BATCH:]
        loss = denoising_loss(model, data, rows, generator, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(model)
        if step % max(1, steps // 10) == 0:
            held = chosen_by(average.module, data)
            if held < best:
                best, kept = held, {key: value.clone() for key, value in average.module.state_dict().items()}
            print(f"{sees} seed {seed} step {step}: loss {loss.item():.4f}, held out {held:.4f}", flush=True)
    model.load_state_dict(kept)
    return model.eval(), best


def draw(model, code, generator):
    """DPM-Solver++(2M) of Lu et al. 2022 on the grid of Karras et al. 2022; (rows, draws, parameters)."""
    code = code.repeat_interleave(DRAWS, 0)
    steps = torch.arange(SAMPLER_STEPS) / (SAMPLER_STEPS - 1)
    grid = (10 ** (1 / 7) + steps * (5e-4 ** (1 / 7) - 10 ** (1 / 7))) ** 7
    x = torch.randn(len(code), 5, generator=generator) * math.sqrt(101)
    before = None
    for i, sigma in enumerate(grid):
        scale = (sigma**2 + 1).sqrt()
        raw = model(code, x / scale, sigma.log().expand(len(code)))
        clean = x / scale**2 + sigma / scale * raw
        if i + 1 == len(grid):
            x = clean
            break
        ratio, h = grid[i + 1] / sigma, (sigma / grid[i + 1]).log()
        used = clean
        if before is not None:
            r = (grid[i - 1] / sigma).log() / h
            used = (1 + 1 / (2 * r)) * clean - before / (2 * r)
        x, before = ratio * x + (1 - ratio) * used, clean
    return (0.5 * (1 + torch.erf(x / math.sqrt(2)))).reshape(-1, DRAWS, 5)


def crps(draws, truth):
    """Continuous ranked probability score of each row and parameter, by its fair estimate."""
    error = (draws - truth[:, None]).abs().mean(1)
    ordered, count = draws.sort(1).values, draws.shape[1]
    weights = (2 * torch.arange(1, count + 1) - count - 1).float()[None, :, None]
    return error - (weights * ordered).sum(1) / (count * (count - 1))


@torch.no_grad()
def score(model, data):
    """Of each scored row and parameter: the score, and whether the 90 % interval holds the truth."""
    generator = torch.Generator().manual_seed(6)
    scores, held = [], []
    for rows in data.scored.split(100):
        draws, truth = draw(model, model.code(*data.inputs(rows, model.sees)), generator), data.position[rows]
        scores.append(crps(draws, truth))
        low, high = draws.quantile(torch.tensor([0.05, 0.95]), dim=1)
        held.append((low <= truth) & (truth <= high))
    return torch.cat(scores).numpy(), torch.cat(held).numpy()


def prior_score(data):
    """The score of the learned rows' own distribution for process and alloy, without a look at the scan."""
    scores = []
    for row in data.scored:
        same = (data.process == data.process[row]) & (data.alloy == data.alloy[row])
        same[data.learned :] = False
        scores.append(crps(data.position[same][None], data.position[row][None]))
    return torch.cat(scores).numpy()


@torch.no_grad()
def condition_milliseconds(model, data):
    """Processor time from the inputs of one scan to what the denoiser is told."""
    inputs = [data.inputs(row[None], model.sees) for row in data.choosing[:64]]
    began = time.process_time()
    for one in inputs:
        model.code(*one)
    return (time.process_time() - began) / len(inputs) * 1e3


def study(data, folder, sees, steps, seed):
    file = folder / f"scores {sees} {steps} {seed}.npz"
    if file.exists():
        return
    began = time.process_time()
    model, loss = train(data, sees, steps, seed)
    minutes = (time.process_time() - began) / 60
    scores, held = score(model, data)
    weights = sum(parameter.numel() for parameter in model.parameters())
    cost = condition_milliseconds(model, data)
    numpy.savez(file, crps=scores, held=held, loss=loss, minutes=minutes, weights=weights, cost=cost)


def groups(data):
    """Name and mask over the scored rows, by process and regime."""
    process, regime = data.process[data.scored].numpy(), data.regime[data.scored].numpy()
    for i, name in enumerate(data.processes):
        name = name if name == "lpbf" else f"{name}, *unvalidated*"
        yield f"{name} | all", process == i
        for j, of in enumerate(REGIMES):
            yield f"{name} | {of}", (process == i) & (regime == j)


def spread(values, digits=3):
    middle = f"{numpy.mean(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def report(data, folder):
    kept = {}
    for file in sorted(folder.glob("scores *.npz")):
        sees, steps, _ = re.fullmatch(r"scores (\S+) (\d+) (\d+)\.npz", file.name).groups()
        kept.setdefault((VARIANTS.index(sees), int(steps)), []).append(dict(numpy.load(file)))
    kept = {f"{VARIANTS[sees]}, {steps} steps": runs for (sees, steps), runs in sorted(kept.items())}
    prior = prior_score(data)
    print(f"\n{data.learned} simulations learned from, {len(data.choosing)} to choose the weights, {len(prior)} scored.\n")
    print("| told | seeds | loss where weights are chosen | CPU minutes to train | weights | CPU ms a scan |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, runs in kept.items():
        of = lambda key: [float(run[key]) for run in runs]
        print(f"| {name} | {len(runs)} | {spread(of('loss'), 4)} | {spread(of('minutes'), 1)} "
              f"| {runs[0]['weights']} | {spread(of('cost'), 2)} |")
    print("\nSkill, mean of the parameters (range over seeds); difference from the first column ± its standard error "
          "over scans; coverage of 90 % intervals:\n")
    print("| process | regime | scans | " + " | ".join(kept) + " |")
    print("|---|---|---:|" + "---:|" * len(kept))
    first = numpy.mean([run["crps"] for run in next(iter(kept.values()))], 0)
    for name, of in groups(data):
        if of.sum() < FEWEST:
            continue
        cells = []
        for index, runs in enumerate(kept.values()):
            skills = [1 - run["crps"][of].mean() / prior[of].mean() for run in runs]
            gain = (first - numpy.mean([run["crps"] for run in runs], 0))[of].mean(1) / prior[of].mean()
            gain = f"; {gain.mean():+.3f} ± {gain.std() / math.sqrt(len(gain)):.3f}" if index else ""
            cover = numpy.mean([run["held"][of].mean() for run in runs])
            cells.append(f"{spread(skills)}{gain}; {100 * cover:.1f} %")
        print(f"| {name} | {int(of.sum())} | " + " | ".join(cells) + " |")
    print("\nSkill by parameter, mean of the seeds, " + ", ".join(kept) + ":\n")
    print("| process | regime | " + " | ".join(PARAMETERS) + " |")
    print("|---|---|" + "---:|" * len(PARAMETERS))
    for name, of in groups(data):
        if of.sum() < FEWEST:
            continue
        skills = [1 - numpy.mean([run["crps"][of].mean(0) for run in runs], 0) / prior[of].mean(0)
                  for runs in kept.values()]
        print(f"| {name} | " + " | ".join(", ".join(f"{s:.3f}" for s in column) for column in zip(*skills)) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="what the example `volumes` of microdiff-design wrote")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2], help="none: only the tables")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--told", nargs="+", choices=VARIANTS, default=VARIANTS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = Simulations(given.folder)
    for seed in given.seeds:
        for sees in given.told:
            study(data, given.folder, sees, given.steps, seed)
    report(data, given.folder)


if __name__ == "__main__":
    main()
