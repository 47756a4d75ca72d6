"""The bundled model beside its rivals on the same held-out simulations, by mean CRPS, and whether the
posterior of a dense scan is the prior inside the dense window.

`microdiff evaluate --against … --export …` wrote the simulations as CSV and scored the model, the prior and the
nearest simulations. Here gradient-boosted trees are fitted to the same training simulations, one for each quantile
and parameter (scikit-learn's HistGradientBoostingRegressor, which stops early on a tenth of its rows), and scored
on the same held-out ones. Everything is in the position within the prior's range.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

sys.path.insert(0, str(Path(__file__).parents[1] / "sbi"))
from c2st import c2st  # noqa: E402

LEVELS = np.arange(0.05, 1.0, 0.1)
FINE = np.arange(0.005, 1.0, 0.01)
BEGIN, END = "<!-- begin: just bench-posterior -->", "<!-- end: just bench-posterior -->"


def read(path):
    """Labels (process, alloy, class), positions of the parameters by name, features."""
    with path.open() as lines:
        reader = csv.reader(lines)
        header = next(reader)
        rows = list(reader)
    labels = np.array([row[:3] for row in rows])
    values = np.array([row[3:] for row in rows], dtype=float)
    names = [name.removeprefix("position_") for name in header if name.startswith("position_")]
    kinds = sorted({tuple(row) for row in labels[:, :2]})
    return labels, values[:, : len(names)], values[:, len(names) :], names, kinds


def features(labels, descriptors, kinds):
    """Descriptors, then process and alloy as one-hot."""
    pairs = [tuple(row) for row in labels[:, :2]]
    return np.hstack([descriptors, np.array([[pair == kind for kind in kinds] for pair in pairs], dtype=float)])


def boosted(train, target, held):
    """Quantiles of the held-out rows at FINE, from models at LEVELS."""
    found = []
    for level in LEVELS:
        model = HistGradientBoostingRegressor(
            loss="quantile", quantile=level, max_iter=300, max_leaf_nodes=15, min_samples_leaf=40,
            early_stopping=True, validation_fraction=0.1, n_iter_no_change=10, random_state=1,
        )
        found.append(model.fit(train, target).predict(held))
    # Crossed quantiles are sorted, and the ends of the range stand where the first and last do not reach.
    inner = np.sort(np.clip(np.stack(found, 1), 0.0, 1.0), 1)
    ends = np.hstack([np.zeros((len(inner), 1)), inner, np.ones((len(inner), 1))])
    levels = np.concatenate([[0.0], LEVELS, [1.0]])
    return np.stack([np.interp(FINE, levels, row) for row in ends])


def crps(quantiles, truth):
    """Twice the mean pinball loss over the levels (Gneiting and Raftery 2007)."""
    gap = truth[:, None] - quantiles
    return 2.0 * np.mean(np.maximum(FINE * gap, (FINE - 1.0) * gap), 1)


def rivals(folder, evaluation):
    """Mean CRPS by process: lines of a table, and of all together."""
    labels, positions, descriptors, names, kinds = read(folder / "training.csv")
    held_labels, held_positions, held_descriptors, _, _ = read(folder / "held-out.csv")
    train, held = features(labels, descriptors, kinds), features(held_labels, held_descriptors, kinds)
    trees = {}
    for index, name in enumerate(names):
        quantiles = boosted(train, positions[:, index], held)
        trees[name] = crps(quantiles, held_positions[:, index])
        print(f"fitted {name}", file=sys.stderr, flush=True)
    comparison = evaluation["comparison"]
    lines = [
        f"| process | parameter | scans | prior | nearest {comparison['neighbours']} | boosted trees | **this model** |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    sums, count = defaultdict(float), 0
    for score in comparison["scores"]:
        if score["regime"] != "all":
            continue
        chosen = held_labels[:, 0] == score["process"]
        assert chosen.sum() == score["rows"], "the export is of other rows"
        row = {key: score[key] for key in ("prior", "nearest", "posterior")}
        row["trees"] = float(trees[score["parameter"]][chosen].mean())
        for key, value in row.items():
            sums[key] += value * score["rows"]
        count += score["rows"]
        lines.append(line(score["process"], score["parameter"].replace("_", " "), score["rows"], row))
    mean = {key: value / count for key, value in sums.items()}
    lines.append(line("all", "mean of the parameters", len(held_labels), mean))
    return lines, mean


def line(process, parameter, rows, row):
    figures = " | ".join(f"{row[key]:.4f}" for key in ("prior", "nearest", "trees"))
    return f"| {process} | {parameter} | {rows} | {figures} | **{row['posterior']:.4f}** |"


def dense(folder):
    """Lines of a table: C2ST of dense scans' posteriors against the prior inside the dense window, by what they show."""
    scans, shows = defaultdict(lambda: defaultdict(list)), {}
    with (folder / "dense.csv").open() as lines:
        for row in csv.DictReader(lines):
            point = [float(value) for name, value in row.items() if name.startswith("position_")]
            scans[row["scan"]][row["source"]].append(point)
            shows[row["scan"]] = row["shows"]
    found = defaultdict(list)
    for name, scan in scans.items():
        found[shows[name]].append(c2st(np.array(scan["prior"]), np.array(scan["posterior"])))
    lines = ["| dense scans that show | scans | mean C2ST | least to most |", "|---|---:|---:|---:|"]
    return lines + [
        f"| {sight} | {len(values)} | {np.mean(values):.3f} | {min(values):.3f} to {max(values):.3f} |"
        for sight, values in found.items()
    ]


def section(folder, evaluation):
    lines, mean = rivals(folder, evaluation)
    better = all(mean["posterior"] < mean[key] for key in ("prior", "nearest", "trees"))
    simulations = evaluation["comparison"]["simulations"]
    return "\n".join([
        f"{evaluation['rows']} held-out scans; rivals know the same {simulations} simulations. Mean CRPS; lower is "
        "better.",
        "",
        *lines,
        "",
        f"This model has {'the lowest mean of all four' if better else '**not** the lowest mean of all four'}.",
        "",
        "C2ST of the posterior of a dense scan against the prior inside the dense window (0.5: the same). It has to be "
        "near 0.5 where no pore is seen in voxels up to 10 um. Coarser ones also hide the pores of settings outside "
        "the window, and pores that are seen say something: there the posterior has to differ.",
        "",
        *dense(folder),
        "",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="what `microdiff evaluate --export` wrote")
    parser.add_argument("evaluation", type=Path, help="what it printed with --json")
    parser.add_argument("--page", type=Path, help="put the section between its marks in this page")
    given = parser.parse_args()
    text = section(given.folder, json.loads(given.evaluation.read_text()))
    if given.page is None:
        print(text)
        return
    head, rest = given.page.read_text().split(BEGIN)
    _, tail = rest.split(END)
    given.page.write_text(f"{head}{BEGIN}\n{text}{END}{tail}")


if __name__ == "__main__":
    main()
