"""Compares what `cargo run -p microdiff-imaging --example kernels` wrote with scipy, scikit-image,
cc3d and edt. Exits with 1 at the first disagreement.

Every comparison is tried once more with one value of ours changed and has to fail then: a check
that accepts anything is found out here.
"""

import json
import pathlib
import sys

import cc3d
import edt
import numpy as np
import scipy.fft
import scipy.ndimage as ndi
import skimage.filters
import skimage.measure
import skimage.morphology


def exact(ours, theirs):
    """The same values, bit for bit."""
    return ours.shape == theirs.shape and np.array_equal(ours, theirs)


def within(tolerance):
    """The same up to `tolerance` times the largest magnitude."""

    def compare(ours, theirs):
        if ours.shape != theirs.shape or not np.isfinite(ours).all():
            return False
        return np.abs(ours - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-30)

    return compare


def renumbered(ours, theirs):
    """The same partition: each of our labels is one of theirs and the other way round."""
    if ours.shape != theirs.shape or not np.array_equal(ours == 0, theirs == 0):
        return False
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel().astype(ours.dtype)]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def two_point(mask, lag, periodic):
    """Radial S2 in double precision."""
    shape = mask.shape if periodic else [n + lag for n in mask.shape]
    spectrum = scipy.fft.rfftn(mask.astype(np.float64), shape)
    pairs = scipy.fft.irfftn(np.abs(spectrum) ** 2, shape)
    steps = np.arange(-lag, lag + 1)
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    possible = np.ones(z.shape)
    for n, away in zip(mask.shape, (z, y, x)):
        possible *= n if periodic else n - np.abs(away)
    values = pairs[z, y, x] / possible
    length = np.rint(np.sqrt(z**2 + y**2 + x**2)).astype(int).ravel()
    sums = np.bincount(length, values.ravel()) / np.bincount(length)
    return sums[: lag + 1]


def normalised(grey):
    low, high = np.percentile(grey, [0.5, 99.5], method="inverted_cdf").astype(np.float64)
    return np.clip((grey - low) / (high - low), 0, 1)


def block_mean(grey, factor):
    cut = grey[tuple(slice(0, n // factor * factor) for n in grey.shape)]
    return skimage.measure.block_reduce(cut.astype(np.float64), factor, np.mean)


def squared(mask):
    whole = np.rint(ndi.distance_transform_edt(mask) ** 2).astype(np.uint32)
    peer = edt.edtsq(mask, black_border=False).astype(np.uint32)
    if not np.array_equal(whole, peer):
        sys.exit("scipy and edt disagree with each other")
    return whole


def otsu(grey):
    """The level of the largest variance between classes, from whole numbers. scikit-image sums in
    single precision and may miss it by a level, but not by much in variance."""
    counts = np.bincount(grey.ravel())
    below, total = np.cumsum(counts)[:-1], counts.sum()
    first = np.cumsum(counts * np.arange(len(counts)))
    first, whole = first[:-1], first[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = first / below - (whole - first) / (total - below)
        between = np.nan_to_num(below * (total - below).astype(float) * apart**2)
    theirs = skimage.filters.threshold_otsu(grey)
    if between[theirs] < between.max() * (1 - 1e-6):
        sys.exit("scikit-image's threshold is not Otsu's")
    return np.array([between.argmax()])


def bilateral(grey):
    """By the definition, cut off at the edges."""
    value = grey.astype(float)
    steps = range(-2, 3)
    sums, weights = np.zeros(value.shape), np.zeros(value.shape)
    for z, y, x in ((z, y, x) for z in steps for y in steps for x in steps):
        here = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip((z, y, x), value.shape))
        there = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip((z, y, x), value.shape))
        near = np.exp(-0.5 * (z * z + y * y + x * x) / 1.5**2)
        weight = near * np.exp(-0.5 * ((value[there] - value[here]) / 2000.0) ** 2)
        sums[here] += weight * value[there]
        weights[here] += weight
    return sums / weights


def hysteresis(grey, levels):
    return skimage.filters.apply_hysteresis_threshold(-grey.astype(int), -levels[1], -levels[0])


def local(grey, radius=3, offset=1500):
    """Exact means of cubes cut off at the edges."""
    table = np.zeros([n + 1 for n in grey.shape], dtype=np.int64)
    table[1:, 1:, 1:] = grey.astype(np.int64).cumsum(0).cumsum(1).cumsum(2)
    ends = [
        (np.maximum(np.arange(n) - radius, 0), np.minimum(np.arange(n) + radius + 1, n))
        for n in grey.shape
    ]
    sums, count = 0, 1
    for corner in range(8):
        which = [corner >> k & 1 for k in range(3)]
        sums = sums + (-1) ** (3 - sum(which)) * table[np.ix_(*(e[w] for e, w in zip(ends, which)))]
    for axis, (low, high) in enumerate(ends):
        count = count * (high - low).reshape([-1 if k == axis else 1 for k in range(3)])
    return (grey.astype(np.int64) + offset) * count < sums


def islands(mask):
    """Pieces of the rest of at most 5 voxels that do not reach the edge."""
    rest = cc3d.connected_components(~mask, connectivity=6)
    sizes = np.bincount(rest.ravel())
    inner = rest[1:-1, 1:-1, 1:-1]
    edge = np.concatenate([np.unique(rest.take(k, axis)) for axis in range(3) for k in (0, -1)])
    small = [i for i in np.unique(inner) if i > 0 and sizes[i] <= 5 and i not in set(edge)]
    return mask | np.isin(rest, small)


def thickness(mask):
    """Balls of each radius painted by a distance transform of their centres, smallest first."""
    distance = squared(mask)
    out = np.zeros(mask.shape, dtype=np.float32)
    for radius in np.unique(distance[mask]):
        reached = squared(distance != radius) < radius
        out[reached] = 2 * np.sqrt(np.float32(radius))
    return out


def basins(mask):
    """Maxima of the distance that rise by 0.75 or more above any way to a higher one."""
    distance = np.sqrt(squared(mask))
    lowered = skimage.morphology.reconstruction(
        np.where(mask, distance - 0.75, 0), distance, footprint=np.ones((3, 3, 3))
    )
    tops = skimage.morphology.local_maxima(lowered, connectivity=3) & mask
    return np.array([cc3d.connected_components(tops, connectivity=26).max()])


def crofton(mask):
    """Changes along lattice lines, weighted by the share of directions each line stands for."""
    padded = np.pad(mask, 1).astype(np.int8)
    weights = {1: 0.045777891, 2: 0.036980628 / np.sqrt(2), 3: 0.035195640 / np.sqrt(3)}
    total = 0.0
    for step in np.ndindex(3, 3, 3):
        away = [s - 1 for s in step]
        kind = sum(abs(a) for a in away)
        if kind > 0:
            total += weights[kind] * np.sum(padded > np.roll(padded, away, (0, 1, 2)))
    marched = skimage.measure.mesh_surface_area(*skimage.measure.marching_cubes(padded, 0.5)[:2])
    if not 0.8 < 4 * total / marched < 1.1:
        sys.exit(f"Crofton {4 * total} is far from marching cubes {marched}")
    return np.array([4 * total])


def chords(mask, axis):
    """Runs along an axis by length."""
    line = np.moveaxis(mask, axis, -1)
    line = np.pad(line, [(0, 0), (0, 0), (1, 1)]).astype(np.int8).ravel()
    change = np.diff(line)
    lengths = np.flatnonzero(change == -1) - np.flatnonzero(change == 1)
    return np.bincount(lengths, minlength=mask.shape[axis] + 1)


def largest(mask):
    """The largest component, by scikit-image: its axes' ends and its centroid's place."""
    labels = cc3d.connected_components(mask, connectivity=26)
    # cc3d numbers by its own order; among equals ours is the first in raster order.
    sizes = np.bincount(labels.ravel())[1:]
    firsts = {int(l): int(i) for l, i in zip(*np.unique(labels, return_index=True))}
    chosen = max(range(1, len(sizes) + 1), key=lambda i: (sizes[i - 1], -firsts[i]))
    return skimage.measure.regionprops((labels == chosen).astype(np.uint8))[0]


def axes(mask):
    """Full axes of the ellipsoid of the same second moments; a voxel is a cube, not a point."""
    values = np.linalg.eigvalsh(np.cov(largest(mask).coords.T, bias=True) + np.eye(3) / 12)
    return 2 * np.sqrt(5 * values[::-1])


# Name of our array: what the peer makes of grey and mask, and how closely we agree.
CHECKS = {
    "median": (lambda grey, mask: ndi.median_filter(grey, 3, mode="nearest"), exact),
    "gaussian-1": (lambda grey, mask: ndi.gaussian_filter(grey.astype(float), 1.0), within(1e-6)),
    "gaussian-2.5": (lambda grey, mask: ndi.gaussian_filter(grey.astype(float), 2.5), within(1e-6)),
    "normalised": (lambda grey, mask: normalised(grey), within(1e-6)),
    "block-mean-4": (lambda grey, mask: block_mean(grey, 4), within(1e-7)),
    "histogram": (lambda grey, mask: np.bincount(grey.ravel(), minlength=65536), exact),
    "otsu": (lambda grey, mask: otsu(grey), exact),
    "labels-26": (lambda grey, mask: cc3d.connected_components(mask, connectivity=26), renumbered),
    "labels-6": (lambda grey, mask: cc3d.connected_components(mask, connectivity=6), renumbered),
    "distance": (lambda grey, mask: squared(mask), exact),
    "s2-periodic": (lambda grey, mask: two_point(mask, 8, True), within(1e-5)),
    "s2": (lambda grey, mask: two_point(mask, 8, False), within(1e-5)),
    "bilateral": (lambda grey, mask: bilateral(grey), within(1e-5)),
    "local": (lambda grey, mask: local(grey), exact),
    "islands": (lambda grey, mask: islands(mask), exact),
    "thickness": (lambda grey, mask: thickness(mask), within(1e-6)),
    "basins": (lambda grey, mask: basins(mask), exact),
    "euler": (lambda grey, mask: np.array([skimage.measure.euler_number(mask, 3)]), exact),
    "surface": (lambda grey, mask: crofton(mask), within(1e-12)),
    "chords-z": (lambda grey, mask: chords(mask, 0), exact),
    "chords-y": (lambda grey, mask: chords(mask, 1), exact),
    "chords-x": (lambda grey, mask: chords(mask, 2), exact),
    "axes": (lambda grey, mask: axes(mask), within(1e-9)),
    "centroid": (lambda grey, mask: np.array(largest(mask).centroid) + 0.5, within(1e-9)),
}


def changed(array):
    """The array with its largest value off by a thousandth, or by one."""
    other = array.copy().ravel()
    at = int(np.argmax(other))
    other[at] = other[at] * 1.001 if other.dtype.kind == "f" else other[at] - 1
    return other.reshape(array.shape)


def main(folder):
    cases = sorted(pathlib.Path(folder).glob("case-*"))
    if not cases:
        sys.exit(f"no cases in {folder}")
    for case in cases:
        index = json.loads((case / "index.json").read_text())
        arrays = {
            name: np.fromfile(case / name, about["dtype"]).reshape(about["shape"])
            for name, about in index.items()
        }
        grey, mask = arrays.pop("grey"), arrays.pop("mask").astype(bool)
        levels = arrays.pop("levels").astype(int)
        checks = CHECKS | {"hysteresis": (lambda grey, mask: hysteresis(grey, levels), exact)}
        if set(arrays) != set(checks):
            sys.exit(f"{case}: arrays and checks differ: {sorted(set(arrays) ^ set(checks))}")
        for name, (peer, agree) in checks.items():
            theirs = peer(grey, mask)
            if not agree(arrays[name], theirs):
                sys.exit(f"{case}: {name} disagrees")
            if agree(changed(arrays[name]), theirs):
                sys.exit(f"{case}: {name} agrees with a changed value, too")
    print(f"{len(checks)} results agree on {len(cases)} volumes")


main(sys.argv[1])
