"""Memory and seconds of prepare, inspect, train and predict against the number of images.

    python -m benchmarks.scale_data --work /tmp/scale --images 10000 100000 1000000 --out results

Images are drawn (16 x 16 pixels, each another one), in shards of 10,000. Training takes 64 pixels from a
cache that is a sparse file: zeros that take no space on the disk, and as many bytes as real ones in the map.
Each verb is a process of its own. Its memory is the peak of RssAnon, which the system cannot take back: pages
of mapped files are not in it. It is read from /proc 50 times a second.

A million images take hours to decode, so there are two parts of verbs, on a data set that is written
without images: `inspect again` is an inspection whose images were looked at before; `begin` is a training
until it has all its data, and 20 seconds of steps.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

WHOLE = ("prepare", "inspect", "train", "predict")
PARTS = ("inspect again", "begin")
VERBS = (*WHOLE, *PARTS)
SIZE, CLASSES, PER_SHARD = 64, 8, 10_000
_STEPS_FOR = 20.0
_TINY = (
    "encoder=test_resnet",
    "pretrained=false",
    f"size={SIZE}",
    "batch=256",
    "stage1.epochs=1",
    "precision=fp32",
)


def main() -> None:
    """Measures what is asked for; writes numbers and figure."""
    parser = argparse.ArgumentParser(description="memory and seconds against the number of images")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=WHOLE)
    parser.add_argument("--out", type=Path, help="a folder for scale-data.json and scale-data.svg")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for number in options.images:
        for row in measured(options.work / str(number), number, options.verbs):
            print(json.dumps(row), flush=True)
            rows.append(row)
    if options.out is not None:
        write(rows, options.out)


def measured(folder: Path, number: int, verbs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields seconds and memory of each verb on so many images."""
    if set(verbs) & set(WHOLE):
        draw_shards(folder / "shards", number)
    data, run, listed = folder / "data", folder / "run", folder / "listed"
    if set(verbs) & set(PARTS):
        list_images(listed, number)
    data, run = folder / "data", folder / "run"
    words = {
        "prepare": ["prepare", "shards", "--shards", folder / "shards", "--split", "image", "--out", data],
        "inspect": ["inspect", data],
        "train": ["train", data, "--method", "ce", "--budget", "smoke", *setting(_TINY), "--out", run],
        "inspect again": ["inspect", listed],
        "begin": ["train", listed, "--method", "ce", *setting(_TINY), "--out", folder / "begun"],
        "predict": ["predict", run, folder / "files", "--out", folder / "answers.csv"],
    }
    for verb in verbs:
        if verb == "train":
            sparse_cache(data, number)
        if verb == "predict":
            link_files(folder / "files", number)
        if verb == "begin":
            sparse_cache(listed, number)
        begun = folder / "begun" / "environment.json" if verb == "begin" else None
        seconds, memory = watched([str(word) for word in words[verb]], folder / f"{verb}.log", begun)
        yield {"verb": verb, "images": number, "seconds": round(seconds, 2), "bytes": memory}


def setting(texts: Sequence[str]) -> list[str]:
    """Returns settings as words of the command."""
    return [word for text in texts for word in ("--set", text)]


def watched(words: list[str], log: Path, begun: Path | None = None) -> tuple[float, int]:
    """Runs the command; returns its seconds and the most anonymous memory that it had.

    Where `begun` is named, the seconds are those until it is there; 20 seconds later the command is stopped.
    """
    start, most, found, asked = time.perf_counter(), 0, 0.0, False
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "lmd", *words], stdout=file, stderr=file)
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.02)
            if begun is not None and not found and begun.is_file():
                found = time.perf_counter() - start
            if found and not asked and time.perf_counter() - start > found + _STEPS_FOR:
                process.send_signal(signal.SIGUSR1)
                asked = True
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: {log.read_text()[-2000:]}")
    return found or time.perf_counter() - start, most


def anonymous(process: int) -> int:
    """Returns the bytes of memory of a process that are no pages of files."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return 1024 * int(line.split()[1])
    return 0


def draw_shards(folder: Path, number: int) -> None:
    """Draws images, each with its label, into shards."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    random = np.random.default_rng(number)
    for start in range(0, number, PER_SHARD):
        noise = random.integers(0, 256, (min(PER_SHARD, number - start), 16 * 16 * 3), dtype=np.uint8)
        with tarfile.open(folder / f"set-{start // PER_SHARD:06d}.tar", "w") as tar:
            for place, pixels in enumerate(noise):
                _add(tar, f"{start + place:07d}.ppm", b"P6 16 16 255\n" + pixels.tobytes())
                _add(tar, f"{start + place:07d}.cls", b"%d" % (place % CLASSES))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    tar.members = []  # type: ignore[attr-defined]


def list_images(folder: Path, number: int) -> None:
    """Writes a data set in shards of empty members: its manifest, and what is kept of files once read."""
    import pandas as pd

    from lmd.data.audit.looks import _LOOK
    from lmd.data.dataset.info import DatasetInfo
    from lmd.data.dataset.manifest import write_dataset

    if folder.is_dir():
        return
    shards, place = folder.parent / "empty", np.arange(number)
    shards.mkdir(parents=True, exist_ok=True)
    for start in range(0, number, PER_SHARD):
        headers = [_header(n) for n in range(start, min(start + PER_SHARD, number))]
        data = b"".join(header + bytes(512) for header in headers) + bytes(1024)
        (shards / f"set-{start // PER_SHARD:06d}.tar").write_bytes(data)
    files = [f"set-{n // PER_SHARD:06d}.tar/{n:07d}.ppm" for n in place]
    classes = [str(n) for n in range(CLASSES)]
    table = pd.DataFrame({"id": files, "file": files, "label": (place // 10 % CLASSES).astype(str)})
    table["split"] = np.array(["train"] * 7 + ["val"] + ["test"] * 2)[place % 10]
    table["group"] = table["id"]
    info = DatasetInfo(
        title="listed", classes=classes, bands={"all": classes}, bands_rule="none", licence="", citation="",
        source="shards", recipe={"split": "image"}, image_root=str(shards.resolve()),
    )  # fmt: skip
    write_dataset(folder, table, info)
    (folder / "cache").mkdir()
    known = {shard.name: (shard.stat().st_size, shard.stat().st_mtime_ns) for shard in shards.iterdir()}
    with (folder / "cache" / "hashes.json").open("w") as file:
        for n, name in enumerate(files):
            path, (size, time_of) = f"{shards.resolve()}/{name}", known[name.partition("/")[0]]
            file.write(f'{"," if n else "{"}"{path}": [{size}, {time_of}, "{n:064x}"]\n')
        file.write("}")
    records = np.lib.format.open_memmap(folder / "cache" / "looks-3.npy", "w+", _LOOK, (number,))
    random = np.random.default_rng(0)
    for start in range(0, number, PER_SHARD):
        part = records[start : start + PER_SHARD]
        part["sha256"] = [f"{n:064x}" for n in range(start, start + len(part))]
        part["format"], part["width"], part["height"] = "PPM", 16, 16
        part["hashes"] = random.integers(0, 256, part["hashes"].shape, dtype=np.uint8)
        part["pixels"] = random.integers(0, 256, part["pixels"].shape, dtype=np.uint8)


def _header(number: int) -> bytes:
    """The header of a member of one byte; tarfile would take minutes for a million."""
    info = tarfile.TarInfo(f"{number:07d}.ppm")
    info.size = 1
    return info.tobuf()


def sparse_cache(data: Path, number: int) -> None:
    """Makes the cache of 64 pixels that a training looks for, out of zeros that take no space."""
    from lmd.data.dataset.manifest import read_dataset
    from lmd.data.decode import cache

    array = cache.array_of(read_dataset(data), SIZE)
    array.target.parent.mkdir(parents=True, exist_ok=True)
    with array.target.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": array.shape}
        )
        file.truncate(file.tell() + number * array.row_bytes)
    sums = {
        stop - start: zlib.crc32(bytes((stop - start) * array.row_bytes)) for start, stop in array.chunks()
    }
    lines = [f"{start} {sums[stop - start]:08x}\n" for start, stop in array.chunks()]
    array.sums_file.write_text("".join(lines))


def link_files(folder: Path, number: int) -> None:
    """Makes image files: names for a few that lie on the disk, 10,000 for each."""
    folder.mkdir(exist_ok=True)
    for start in range(0, number, 10_000):
        inside = folder / f"{start:07d}"
        inside.mkdir(exist_ok=True)
        first = inside / "0000.ppm"
        first.write_bytes(b"P6 16 16 255\n" + np.random.default_rng(start).bytes(768))
        for place in range(1, min(10_000, number - start)):
            with suppress(FileExistsError):
                os.link(first, inside / f"{place:04d}.ppm")


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Writes the numbers with the line that fits each verb, and the figure."""
    out.mkdir(parents=True, exist_ok=True)
    found = {
        verb: fit([row for row in rows if row["verb"] == verb])
        for verb in dict.fromkeys(r["verb"] for r in rows)
    }
    (out / "scale-data.json").write_text(json.dumps({"rows": rows, "fits": found}, indent=2) + "\n")
    draw(rows, out / "scale-data.svg")


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Returns a, b and c of seconds = a + b N^c, the closest over a grid of c; and bytes for each image."""
    number = np.array([row["images"] for row in rows], dtype=float)
    seconds, memory = (np.array([row[name] for row in rows], dtype=float) for name in ("seconds", "bytes"))
    best: tuple[float, float, float, float] = (np.inf, 0.0, 0.0, 0.0)
    for power in np.linspace(0.5, 2, 151):
        design = np.stack([np.ones_like(number), number**power], axis=1) / seconds[:, None]
        (a, b), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
        error = float(((design @ [a, b] - 1) ** 2).sum())
        if a >= 0 and b >= 0 and error < best[0]:
            best = (error, float(a), float(b), float(power))
    slope = np.polyfit(number, memory, 1)[0] if len(rows) > 1 else 0.0
    return {"a": best[1], "b": best[2], "c": best[3], "bytes_for_each_image": float(slope)}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws seconds and memory against N, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lmd"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for verb in dict.fromkeys(row["verb"] for row in rows):
        mine = [row for row in rows if row["verb"] == verb]
        number = [row["images"] for row in mine]
        axes[0].loglog(number, [row["seconds"] for row in mine], "o-", label=verb)
        axes[1].loglog(number, [row["bytes"] / 1e9 for row in mine], "o-", label=verb)
    axes[0].set(xlabel="images", ylabel="seconds")
    axes[1].set(xlabel="images", ylabel="memory, GB (without pages of files)")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
