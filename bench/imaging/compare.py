"""Measures the imaging kernels beside the fastest tools found for each, on the same volume in one
run with two threads, and prints a table.

Give the path of the built example `kernels` and the edges of the volumes. The machine's memory
bandwidth is measured in the same run; a kernel's share of it counts only the bytes that it cannot
do without, so 100 % is out of reach.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time

import cc3d
import cv2
import edt
import numpy as np
import scipy.fft
import SimpleITK as sitk

THREADS = 2
cv2.setNumThreads(THREADS)
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(work, rounds=3):
    """Wall and processor seconds of the fastest round, after one that does not count."""
    work()
    best = None
    for _ in range(rounds):
        began, spent = time.perf_counter(), cpu_seconds()
        work()
        figures = (time.perf_counter() - began, cpu_seconds() - spent)
        best = figures if best is None or figures < best else best
    return best


def gaussian(volume, sigma=1.0):
    """OpenCV has no third dimension: z as the rows of a wide image, then page by page."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    one, edge = np.ones(1, np.float32), cv2.BORDER_REFLECT
    tall = cv2.sepFilter2D(volume.reshape(len(volume), -1), -1, one, kernel, borderType=edge)
    tall = tall.reshape(volume.shape)
    for page in tall:
        cv2.sepFilter2D(page, -1, kernel, kernel, dst=page, borderType=edge)
    return tall


def two_point(mask):
    spectrum = scipy.fft.rfftn(mask.astype(np.float32), workers=THREADS)
    power = spectrum.real**2 + spectrum.imag**2
    return scipy.fft.irfftn(power, mask.shape, workers=THREADS)


def peers(folder, edge):
    """Name of each kernel: its peer, what the peer does, compulsory bytes per voxel of ours."""
    shape = (edge,) * 3
    grey = np.fromfile(folder / "grey", "<u2").reshape(shape)
    masks = {
        share: np.fromfile(folder / f"mask {share}", bool).reshape(shape) for share in ("1 %", "10 %")
    }
    image = sitk.GetImageFromArray(grey)
    factor = edge // 64
    blocks = (64, factor) * 3
    yield "median 3x3x3", "ITK", lambda: sitk.Median(image, [1, 1, 1]), 6
    smooth = grey.astype(np.float32)
    yield "gaussian sigma 1", "OpenCV", lambda: gaussian(smooth), 12
    flat = grey.reshape(-1, edge)
    otsu = cv2.THRESH_BINARY | cv2.THRESH_OTSU
    yield "otsu", "OpenCV", lambda: cv2.threshold(flat, 0, 1, otsu), 2
    shrink = [factor] * 3
    yield "mean to 64^3", "ITK", lambda: sitk.BinShrink(image, shrink), 2
    for share, mask in masks.items():
        label = lambda mask=mask: cc3d.connected_components(mask, connectivity=26)
        yield f"labels 26, {share}", "cc3d", label, 9
        distance = lambda mask=mask: edt.edtsq(mask, parallel=THREADS)
        yield f"distance in pores, {share}", "edt", distance, 9
    yield "S2 periodic", "scipy.fft", lambda: two_point(masks["10 %"]), 16


def main(kernels, edges):
    for edge in edges:
        folder = pathlib.Path("target/bench-imaging") / str(edge)
        command = [kernels, "bench", str(edge), str(folder)]
        environment = {"RAYON_NUM_THREADS": str(THREADS)}
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        ours = {line["kernel"]: line for line in map(json.loads, run.stdout.splitlines())}
        copied = ours.pop("memory-copy")
        bandwidth = copied["voxels"] / copied["wall"]
        print(f"\n{edge}^3, {THREADS} threads; memory copies at {bandwidth / 1e9:.1f} GB/s\n")
        print("| kernel | MVoxel/s | CPU ns/voxel | of bandwidth | peer | MVoxel/s | CPU ns/voxel | ratio |")
        print("|---|---:|---:|---:|---|---:|---:|---:|")
        for kernel, peer, work, compulsory in peers(folder, edge):
            mine = ours.pop(kernel)
            wall, cpu = timed(work)
            voxels = mine["voxels"]
            share = compulsory * voxels / mine["wall"] / bandwidth
            print(
                f"| {kernel} | {voxels / mine['wall'] / 1e6:.0f} | {mine['cpu'] / voxels * 1e9:.2f}"
                f" | {share:.0%} | {peer} | {voxels / wall / 1e6:.0f} | {cpu / voxels * 1e9:.2f}"
                f" | {wall / mine['wall']:.1f} |",
                flush=True,
            )
        if ours:
            sys.exit(f"without a peer: {sorted(ours)}")


main(sys.argv[1], [int(edge) for edge in sys.argv[2:]])
