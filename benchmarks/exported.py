"""Exports against the network they were made of: agreement on 1,000 real images, speed, and what int8 loses.

    python -m benchmarks.exported RUN --data DATA --name resnet18-64    # benchmarks/results/exported

RUN is a finished run, DATA a dataset folder (default: the run's own). Agreement: the largest difference of a
probability to the trained network, in fp32 as it was trained, in batches of 1, 7 and 64. Speed: images in a
second of one thread, medians of rounds taken in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lmd
from benchmarks.measure import ROOT, side_by_side
from benchmarks.plain import as_timm_computes
from lmd.data.feed.scale import clean
from lmd.deployment.export import onnx_file, torch_file
from lmd.deployment.export.agreement import answers_of, reference_of
from lmd.deployment.export.images import Sample, data_of, pixels_of
from lmd.evaluation.predict import Model
from lmd.folds.either import load_either
from lmd.folds.folder import FoldsRun, opened
from lmd.models.folding import at_rest
from lmd.runtime import environment

IMAGES, BATCHES, ROUNDS = 1000, (1, 7, 64), 7
Answering = Callable[[Tensor], tuple[np.ndarray, np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports, measures, and writes one JSON file."""
    options = _parse(arguments)
    torch.set_num_threads(1)
    run = opened(options.run)
    model = load_either(run, isinstance(run, FoldsRun))
    data, why = data_of(run, model.card, None if options.data is None else lmd.read_dataset(options.data))
    if data is None:
        print(why, file=sys.stderr)
        return 2
    rows = np.sort(np.random.default_rng(0).permutation(len(data.table))[: options.images])
    pixels = pixels_of(model.card.preprocessing, data, rows)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        told = lmd.export(run, out=place / "onnx", data=data, fp16=True, int8=True)
        lmd.export(run, out=place / "torch", data=data, format="torch")
        answering = {
            "torch": torch_file.answering(place / "torch" / "model.pt2"),
            "onnx": onnx_file.answering(place / "onnx" / "model.onnx"),
            "onnx fp16": onnx_file.answering(place / "onnx" / "model-fp16.onnx"),
            "onnx int8": onnx_file.answering(place / "onnx" / "model-int8.onnx"),
        }
        result: dict[str, Any] = {
            "run": f"{model.card.method}, {model.card.encoder}, {model.card.preprocessing.size} pixels",
            "data": data.info.title,
            "images": len(rows),
            "environment": environment(),
            "load": os.getloadavg()[0],
            "export": told.model_dump(mode="json", exclude={"card", "files", "input"}),
            "bytes": {path.name: path.stat().st_size for path in place.rglob("model*.*")},
            "agreement": agreement(model, pixels, answering),
            "images_per_second": speed(model, pixels, answering),
        }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("agreement", "images_per_second")}, indent=1))
    return 0


def agreement(model: Model, pixels: Tensor, answering: dict[str, Answering]) -> dict[str, Any]:
    """Returns by export and batch the largest difference of p or d to the trained network."""
    wanted = answers_of(reference_of(model), Sample(pixels, ""))
    found: dict[str, Any] = {}
    for name, answer in answering.items():
        found[name] = {}
        for batch in BATCHES if name in ("torch", "onnx") else BATCHES[-1:]:
            parts = [answer(part) for part in pixels.split(batch)]
            gaps = [np.abs(np.concatenate([one[k] for one in parts]) - wanted[k]).max() for k in (0, 1)]
            found[name][batch] = float(max(gaps))
    return found


def speed(model: Model, pixels: Tensor, answering: dict[str, Answering]) -> dict[str, Any]:
    """Returns by way and batch how many images are answered in a second."""
    ways = {**networks(model), **answering}
    found: dict[str, Any] = {name: {} for name in ways}
    for batch in BATCHES:
        some = pixels[:batch]
        tasks = {name.replace(" ", "_"): _task(answer, some) for name, answer in ways.items()}
        times = side_by_side("cpu", ROUNDS, max(1, 32 // batch), **tasks)
        for name in ways:
            found[name][batch] = round(batch / times[name.replace(" ", "_")], 1)
    return found


def networks(model: Model) -> dict[str, Callable[[Tensor], Any]]:
    """The network in PyTorch, from pixels to logits: as timm computes it, and as `lmd predict` does."""
    made = model.card.preprocessing
    network = model.network.cpu().eval()

    def answer(part: torch.nn.Module) -> Callable[[Tensor], Any]:
        return lambda images: part(clean(images, made.mean, made.std))

    found = {"network": answer(as_timm_computes(network))}
    if hasattr(network, "encoder"):
        found["network at rest"] = answer(at_rest(network, "fp32"))
    return found


def _task(answer: Callable[[Tensor], Any], images: Tensor) -> Callable[[], Any]:
    def run() -> None:
        with torch.inference_mode():
            answer(images)

    return run


def _parse(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exported", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name", default="exported")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "exported")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
