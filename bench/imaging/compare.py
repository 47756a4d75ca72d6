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
import tifffile

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
    """Name of each kernel, its peer, and what the peer does."""
    shape = (edge,) * 3
    grey = np.fromfile(folder / "grey 1 %", "<u2").reshape(shape)
    image = sitk.GetImageFromArray(grey)
    factor = edge // 64
    yield "median 3x3x3", "ITK", lambda: sitk.Median(image, [1, 1, 1])
    smooth = grey.astype(np.float32)
    yield "gaussian sigma 1", "OpenCV", lambda: gaussian(smooth)
    flat = grey.reshape(-1, edge)
    otsu = cv2.THRESH_BINARY | cv2.THRESH_OTSU
    yield "otsu", "OpenCV", lambda: cv2.threshold(flat, 0, 1, otsu)
    yield "mean to 64^3", "ITK", lambda: sitk.BinShrink(image, [factor] * 3)
    for share in ("1 %", "10 %"):
        mask = np.fromfile(folder / f"mask {share}", bool).reshape(shape)
        yield f"labels 26, {share}", "cc3d", lambda mask=mask: cc3d.connected_components(mask, connectivity=26)
        yield f"distance in pores, {share}", "edt", lambda mask=mask: edt.edtsq(mask, parallel=THREADS)
        yield f"S2 periodic, {share}", "scipy.fft", lambda mask=mask: two_point(mask)


def write_scans(folder, edge):
    """The grey volume as TIFF files, plain and packed with differences along the rows."""
    grey = np.fromfile(folder / "grey 1 %", "<u2").reshape((edge,) * 3)
    packings = {"raw": {}, "deflate": {"compression": "zlib"}, "zstd": {"compression": "zstd"}}
    for name, packing in packings.items():
        packing = packing | {"predictor": 2} if packing else {}
        tifffile.imwrite(
            folder / f"{name}.tif", grey, photometric="minisblack", metadata=None, **packing
        )


def run(*command):
    environment = {"RAYON_NUM_THREADS": str(THREADS)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def row(line, bandwidth, peer=""):
    voxels, name = line["voxels"], line.get("kernel") or line["stage"]
    share = line["bytes"] * voxels / line["wall"] / bandwidth
    print(
        f"| {name} | {voxels / line['wall'] / 1e6:.0f} | {voxels / line['cpu'] / 1e6:.0f}"
        f" | {share:.0%} | {peer} |",
        flush=True,
    )


def table(lines, others):
    """Prints our figures, each beside its peer's if there is one."""
    bandwidth = next(l["bytes"] * l["voxels"] / l["wall"] for l in lines if l["kernel"] == "memory-copy")
    print(f"\nmemory copies at {bandwidth / 1e9:.1f} GB/s\n")
    print("| what | MVoxel/s | per CPU second | of bandwidth | peer | MVoxel/s | per CPU second | ratio |")
    print("|---|---:|---:|---:|---|---:|---:|---:|")
    for line in lines:
        if line["kernel"] == "memory-copy":
            continue
        peer = "| | |"
        if line["kernel"] in others:
            name, work = others[line["kernel"]]
            (wall, cpu), voxels = timed(work), line["voxels"]
            figures = [voxels / wall / 1e6, voxels / cpu / 1e6]
            peer = f"{name} | {figures[0]:.0f} | {figures[1]:.0f} | {wall / line['wall']:.1f}"
        row(line, bandwidth, peer)
    return bandwidth


def main(kernels, edges):
    for edge in edges:
        folder = pathlib.Path("target/bench-imaging") / str(edge)
        run(kernels, "make", str(edge), str(folder))
        write_scans(folder, edge)
        print(f"\n{edge}^3, {THREADS} threads")
        others = {name: (peer, work) for name, peer, work in peers(folder, edge)}
        table(run(kernels, "bench", str(edge), str(folder)), others)
        scans = [folder / f"{name}.tif" for name in ("raw", "deflate", "zstd")]
        readers = {
            scan.stem: ("tifffile", lambda scan=scan: tifffile.imread(scan, maxworkers=THREADS))
            for scan in scans
        }
        bandwidth = table(run(kernels, "load", str(folder)), readers)
        *stages, whole = run(kernels, "chain", str(folder / "zstd.tif"))
        print("\n| stage | MVoxel/s | per CPU second | of bandwidth |  |\n|---|---:|---:|---:|---|")
        for stage in stages:
            row(stage, bandwidth)
        print(
            f"\nall: {whole['wall']:.2f} s, {whole['cpu']:.2f} s of CPU, "
            f"{whole['peak'] / 1e6:.0f} MB at most"
        )


main(sys.argv[1], [int(edge) for edge in sys.argv[2:]])
