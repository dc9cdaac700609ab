"""Images per second of a whole epoch, beside timm's own training script, on the same images and cores.

    python -m benchmarks.against_timm --timm pytorch-image-models/train.py --data DATA --images 2000 --runs 3

`DATA` is a dataset folder; timm's script (github.com/huggingface/pytorch-image-models) is no part of its
package. Both train a ResNet-18 of random weights in one precision with SGD, 64 pixels, batches of 128, flips
alone, and validate after each epoch. The seconds of an epoch are those between the starts of two: with
reading, validation and saving. Each way runs in a process of its own, in turn. On a machine that others use,
look at the images per second of the processor: work of all threads and processes, whatever they waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.checkpoints import Watch

SIZE, BATCH = 64, 128


def main() -> None:
    """Prints the images per second of both, run by run, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description="whole epochs beside timm's training script")
    parser.add_argument("--timm", type=Path, help="timm's train.py")
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument(
        "--images", type=int, default=2000, help="training images; a fifth of it for validation"
    )
    parser.add_argument("--epochs", type=int, default=3, help="the first is not counted")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="timm's processes that read images")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of both")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours is not None:
        print(*ours(options.data, options.ours, options.epochs, options.precision))
        return
    with tempfile.TemporaryDirectory() as folder:
        side_by_side(options, Path(folder))


def side_by_side(options: argparse.Namespace, folder: Path) -> None:
    """Runs both in turn."""
    data = some_images(options.data, folder, options.images)
    names = [f"{name}{kind}" for kind in ("", ", of the processor") for name in ("lmd", "timm")]
    found: dict[str, list[float]] = {name: [] for name in names}
    for run in range(options.runs):
        clock, processor = ours_in_a_process(options, data, folder / f"run-{run}")
        found["lmd"].append(options.images / clock)
        found["lmd, of the processor"].append(options.images / processor)
        if options.timm:
            clock, processor = theirs(options, folder)
            found["timm"].append(options.images / clock)
            found["timm, of the processor"].append(options.images / processor)
        print({name: round(rates[-1], 1) for name, rates in found.items() if rates}, flush=True)
    for name, rates in found.items():
        if rates:
            least, most = min(rates), max(rates)
            print(f"{name}: {statistics.median(rates):.1f} images/s ({least:.1f} to {most:.1f})")
    for one, other in (names[:2], names[2:]):
        if found[other]:
            print(f"{one} / {other}: {statistics.median(found[one]) / statistics.median(found[other]):.2f}")


def some_images(data: Path, folder: Path, number: int) -> Path:
    """Makes a dataset folder of some images, and the folders train and validation of links to the same."""
    import pandas as pd

    from lmd.data.dataset.manifest import read_dataset, write_dataset

    dataset = read_dataset(data)
    parts = [dataset.split("train").iloc[:number], dataset.split("val").iloc[: number // 5]]
    table = pd.concat(parts).reset_index(drop=True)
    classes = [name for name in dataset.classes if name in set(parts[0]["label"])]
    table = table[table["label"].isin(classes)]
    root, bands = str(dataset.root), {"all": classes}
    info = dataset.info.model_copy(update={"classes": classes, "image_root": root, "bands": bands})
    write_dataset(folder / "data", table, info)
    for _, row in table.iterrows():
        split = "train" if row["split"] == "train" else "validation"
        link = folder / "folders" / split / row["label"].replace(os.sep, "_") / Path(row["file"]).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(dataset.root / row["file"])
    return folder / "data"


def ours(data: Path, out: Path, epochs: int, precision: str) -> tuple[float, float]:
    """Returns the median seconds of an epoch of `lmd train --method ce`, and those of the processor."""
    from lmd import methods
    from lmd.data.dataset.manifest import read_dataset
    from lmd.training.start import train

    recipe = {
        "encoder": "resnet18", "pretrained": False, "size": SIZE, "batch": BATCH, "precision": precision,
        "stage1": {"epochs": epochs},
    }  # fmt: skip
    watch = Watch()
    train(read_dataset(data), "ce", methods.settings_of("ce", recipe=recipe), out, progress=watch)
    return between(watch.ended[1:]), between(watch.processor[1:])


def between(moments: list[float]) -> float:
    """Returns the median time from one moment to the next."""
    return statistics.median([after - before for before, after in itertools.pairwise(moments)])


def ours_in_a_process(options: argparse.Namespace, data: Path, out: Path) -> tuple[float, float]:
    """Returns the same of a process of its own, with its share of the cores."""
    words = ["--data", str(data), "--ours", str(out), "--epochs", str(options.epochs + 1),
             "--precision", options.precision]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.against_timm", *words]
    done = subprocess.run(command, env=environment(options), capture_output=True, text=True, check=True)
    clock, processor = done.stdout.split()[-2:]
    return float(clock), float(processor)


def theirs(options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Returns the same of timm's script: between the first lines of two epochs."""
    images = folder / "folders"
    classes = len(list((images / "train").iterdir()))
    command = [
        sys.executable, str(options.timm), str(images), "--model", "resnet18", "--num-classes", str(classes),
        "--input-size", "3", str(SIZE), str(SIZE), "--batch-size", str(BATCH), "--device", "cpu",
        "--opt", "sgd", "--lr", "0.05", "--epochs", str(options.epochs + 1),
        "--warmup-epochs", "0", "--cooldown-epochs", "0",
        "--workers", str(options.workers), "--hflip", "0.5", "--vflip", "0.5", "--color-jitter", "0",
        "--scale", "1", "1", "--ratio", "1", "1", "--output", str(folder / "timm"), "--log-interval", "1",
    ]  # fmt: skip
    command += ["--amp", "--amp-dtype", "bfloat16"] if options.precision == "bf16" else []
    starts: list[float] = []
    processor: list[float] = []
    with subprocess.Popen(
        command, env=environment(options), stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told: list[str] = []
        for line in process.stdout:
            told.append(line)
            if re.match(r"Train: \d+ \[ *0/", line):
                starts.append(time.perf_counter())
                processor.append(processor_seconds(process.pid))
    assert process.returncode == 0, "".join(told[-20:])
    return between(starts), between(processor)


def processor_seconds(process: int) -> float:
    """Returns the seconds of the processor of a process and its children, also of those that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    with contextlib.suppress(OSError):  # It has just ended.
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            own += processor_seconds(int(child))
    return own


def environment(options: argparse.Namespace) -> dict[str, str]:
    """Returns the environment of both: as many threads."""
    return {**os.environ, "OMP_NUM_THREADS": str(options.threads)}


if __name__ == "__main__":
    main()
