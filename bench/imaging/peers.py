"""One of the tools that the imaging kernels are compared with, measured alone.

`peers.py FOLDER EDGE NAME` prints a line of JSON: the tool, the voxels it was given, the wall and
processor seconds of its fastest round, and the rounds. A process for each, so that `compare.py` can
give up on one that fails or does not come back.
"""

import json
import pathlib
import resource
import sys
import time

import numpy as np

THREADS = 2
# After a first round of this many seconds there is no other.
SLOW = 4.0
# Edge of the largest volume given to the tool that takes half a minute for the next.
LARGEST_FOR_ITK_MEDIAN = 256


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(work, rounds=3):
    """Wall and processor seconds of the fastest round, and how many there were. The first, which
    warms up, only counts if it is too slow to be repeated."""
    best = None
    for number in range(rounds + 1):
        began, spent = time.perf_counter(), cpu_seconds()
        work()
        figures = (time.perf_counter() - began, cpu_seconds() - spent)
        if number == 0 and figures[0] < SLOW:
            continue
        best = figures if best is None or figures < best else best
        if number == 0:
            return *best, 1
    return *best, rounds


def read(folder, edge, name, kind):
    return np.fromfile(folder / name, kind).reshape((edge,) * 3)


def median(folder, edge, _):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    side = min(edge, LARGEST_FOR_ITK_MEDIAN)
    grey = read(folder, edge, "grey 1 %", "<u2")[:side, :side, :side]
    image = sitk.GetImageFromArray(np.ascontiguousarray(grey))
    return "ITK" if side == edge else f"ITK, {side}³", side**3, lambda: sitk.Median(image, [1, 1, 1])


def gaussian(folder, edge, _):
    import cv2

    cv2.setNumThreads(THREADS)
    volume = read(folder, edge, "grey 1 %", "<u2").astype(np.float32)
    return "OpenCV", edge**3, lambda: blur(cv2, volume)


def blur(cv2, volume, sigma=1.0):
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


def otsu(folder, edge, _):
    import cv2

    cv2.setNumThreads(THREADS)
    flat = read(folder, edge, "grey 1 %", "<u2").reshape(-1, edge)
    method = cv2.THRESH_BINARY | cv2.THRESH_OTSU
    return "OpenCV", edge**3, lambda: cv2.threshold(flat, 0, 1, method)


def mean(folder, edge, _):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    image = sitk.GetImageFromArray(read(folder, edge, "grey 1 %", "<u2"))
    return "ITK", edge**3, lambda: sitk.BinShrink(image, [edge // 64] * 3)


def labels(folder, edge, share):
    import cc3d

    mask = read(folder, edge, f"mask {share}", bool)
    return "cc3d", edge**3, lambda: cc3d.connected_components(mask, connectivity=26)


def distance(folder, edge, share):
    import edt

    mask = read(folder, edge, f"mask {share}", bool)
    return "edt", edge**3, lambda: edt.edtsq(mask, parallel=THREADS)


def solid(folder, edge, share):
    import edt

    mask = ~read(folder, edge, f"mask {share}", bool)
    return "edt", edge**3, lambda: edt.edtsq(mask, parallel=THREADS)


def two_point(folder, edge, share):
    import scipy.fft

    mask = read(folder, edge, f"mask {share}", bool)

    def work():
        spectrum = scipy.fft.rfftn(mask.astype(np.float32), workers=THREADS)
        power = spectrum.real**2 + spectrum.imag**2
        return scipy.fft.irfftn(power, mask.shape, workers=THREADS)

    return "scipy.fft", edge**3, work


def reader(folder, edge, packing):
    import tifffile

    scan = folder / f"{packing}.tif"
    return "tifffile", edge**3, lambda: tifffile.imread(scan, maxworkers=THREADS)


# By the kernels' names, up to the share of pores.
PEERS = {
    "median 3x3x3": median,
    "gaussian sigma 1": gaussian,
    "otsu": otsu,
    "mean to 64^3": mean,
    "labels 26": labels,
    "distance in pores": distance,
    "distance in the solid": solid,
    "S2 periodic": two_point,
    "raw": reader,
    "deflate": reader,
    "zstd": reader,
}


def main(folder, edge, kernel):
    name, _, share = kernel.partition(", ")
    tool, voxels, work = PEERS[name](pathlib.Path(folder), int(edge), share or name)
    wall, cpu, rounds = timed(work)
    print(json.dumps({"tool": tool, "voxels": voxels, "wall": wall, "cpu": cpu, "rounds": rounds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
