"""Measures the imaging kernels beside the fastest tools found for each, on the same volume in one
run with two threads, and prints a table; progress goes to stderr.

Give the path of the built example `kernels` and the edges of the volumes. The machine's memory
bandwidth is measured in the same run; a kernel's share of it counts only the bytes that it cannot
do without, so 100 % is out of reach. A tool that fails or takes too long leaves a remark in its
place of the table.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import tifffile

import peers

# Seconds after which a tool, loading included, is given up, and after which none is begun.
PATIENCE, LAST_CALL = 90, 660
BEGAN = time.monotonic()


def progress(text):
    print(f"{time.monotonic() - BEGAN:4.0f} s  {text}", file=sys.stderr, flush=True)


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
    progress("this crate: " + " ".join(command[1:]))
    environment = os.environ | {"RAYON_NUM_THREADS": str(peers.THREADS)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def peer(folder, edge, kernel):
    """What a peer took, or in words why that is not known; nothing for a kernel without one."""
    if kernel.partition(", ")[0] not in peers.PEERS or kernel.endswith((", into", ", hashed")):
        return None
    if time.monotonic() - BEGAN > LAST_CALL:
        return "not taken: late"
    progress(f"peer of: {kernel}")
    command = [sys.executable, peers.__file__, str(folder), str(edge), kernel]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"none in {PATIENCE} s"
    if done.returncode != 0:
        progress(done.stderr)
        return f"failed ({done.returncode})"
    return json.loads(done.stdout.splitlines()[-1])


def row(line, bandwidth, other=None):
    voxels, name = line["voxels"], line.get("kernel") or line["stage"]
    share = line["bytes"] * voxels / line["wall"] / bandwidth
    cells = [name, f"{voxels / line['wall'] / 1e6:.0f}", f"{voxels / line['cpu'] / 1e6:.0f}"]
    cells.append(f"{share:.0%}")
    if isinstance(other, dict):
        once = ", once" if other["rounds"] == 1 else ""
        speed = other["voxels"] / other["wall"]
        cells += [other["tool"] + once, f"{speed / 1e6:.1f}"]
        cells += [f"{other['voxels'] / other['cpu'] / 1e6:.1f}"]
        cells += [f"{voxels / line['wall'] / speed:.1f}"]
    else:
        cells += [other or "", "", "", ""]
    print("| " + " | ".join(cells) + " |", flush=True)


def table(lines, other):
    """Prints our figures, each beside its peer's if there is one."""
    memory = [line for line in lines if line["kernel"].startswith("memory-")]
    bandwidth, reads = (line["bytes"] * line["voxels"] / line["wall"] for line in memory)
    print(f"\nmemory copies at {bandwidth / 1e9:.1f} GB/s, reads at {reads / 1e9:.1f} GB/s\n")
    print("| what | MVoxel/s | per CPU second | of bandwidth | peer | MVoxel/s | per CPU second | ratio |")
    print("|---|---:|---:|---:|---|---:|---:|---:|", flush=True)
    for line in lines:
        if line not in memory:
            row(line, bandwidth, other(line["kernel"]))
    return bandwidth


def chain(kernels, scan, bandwidth):
    *stages, whole = run(kernels, "chain", str(scan))
    print("\n| stage | MVoxel/s | per CPU second | of bandwidth | | | | |")
    print("|---|---:|---:|---:|---|---|---|---|")
    for stage in stages:
        row(stage, bandwidth)
    print(
        f"\nall: {whole['wall']:.2f} s, {whole['cpu']:.2f} s of CPU, "
        f"{whole['peak'] / 1e6:.0f} MB at most",
        flush=True,
    )


def main(kernels, edges):
    for edge in edges:
        folder = pathlib.Path("target/bench-imaging") / str(edge)
        run(kernels, "make", str(edge), str(folder))
        write_scans(folder, edge)
        print(f"\n{edge}^3, {peers.THREADS} threads, load {os.getloadavg()[0]:.1f}")
        beside = lambda kernel: peer(folder, edge, kernel)
        table(run(kernels, "bench", str(edge), str(folder)), beside)
        bandwidth = table(run(kernels, "load", str(folder)), beside)
        for _ in range(3):
            chain(kernels, folder / "zstd.tif", bandwidth)
    progress(f"done, load {os.getloadavg()[0]:.1f}")


main(sys.argv[1], [int(edge) for edge in sys.argv[2:]])
