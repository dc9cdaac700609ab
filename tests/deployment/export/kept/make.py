"""Made kept-0.2.tar.xz: a run of version 0.2 and its ONNX file, with what both answered then.

    python -m tests.deployment.export.kept.make

It was run once. The file must never be made again: what later versions say of it is what the test is about.
A run of a newer format gets a file of its own beside it. Most weights are zero, so that it is small.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import lmd
from lmd.data.feed.loader import image_set
from lmd.evaluation.predict import Model, pixels_for
from lmd.models.inference import recalibrate
from lmd.run import read_identity, read_model_card, write_identity, write_model
from tests import toy

HERE = Path(__file__).parent
NAME = "kept-0.2"
# What a run folder needs to be used. Left out: pages, tables, and what is of the machine.
KEPT = ("settings.yaml", "metrics.jsonl", "model/model.json", "model/model.safetensors", "model/images.json")
IMAGES = 6


def main() -> int:
    """Trains, rounds, exports, asks, and packs."""
    target = HERE / f"{NAME}.tar.xz"
    if target.exists():
        print(f"{target} is there: it must stay as it is", file=sys.stderr)
        return 2
    with TemporaryDirectory() as folder:
        place = Path(folder)
        dataset = toy.make_dataset(place)
        settings = {**toy.COMMON, "stage1": {"epochs": 6}, "tau": 1.2, "precision": "fp32"}
        run = lmd.train(dataset, method="ce", settings=settings, out=place / "run")
        assert isinstance(dataset, lmd.data.dataset.manifest.Dataset)
        model = rounded(lmd.load(run), dataset)
        card = read_model_card(run)
        outputs = card.outputs.model_copy(update={"temperature": 2.5, "tau": 1.2})
        write_model(run, model.network.state_dict(), card.model_copy(update={"outputs": outputs}), {})
        identity = read_identity(run)
        write_identity(run, {**identity, "data": "data"})
        files = sorted((place / "images").glob("*.png"))[:: 87 // IMAGES]
        lmd.export(run, out=place / "onnx", images=files)
        answers = lmd.load(run).predict(files).drop(columns="unlike", errors="ignore")
        answers["id"] = [file.name for file in files]
        answers.to_csv(place / "answers.csv", index=False, float_format="%.9g")
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for path in (*(f"run/{name}" for name in KEPT), "onnx/model.onnx", "answers.csv"):
                archive.add(place / path, f"{NAME}/{path}")
            for file in files:
                archive.add(file, f"{NAME}/images/{file.name}")
        print(answers.to_string(), target.stat().st_size)
    return 0


def rounded(model: Model, dataset: lmd.data.dataset.manifest.Dataset) -> Model:
    """The model with the weights of its convolutions three values, most kernels zero, BatchNorm fitted again."""
    network = model.network
    with torch.no_grad():
        for weights in network.encoder.parameters():
            if weights.ndim == 4:
                step = 1.8 * weights.std()
                size = weights.abs().mean((2, 3), keepdim=True)
                large = size >= size.flatten().quantile(0.89)
                weights.copy_((weights / step).round().clamp(-1, 1) * step.half().float() * large)
    images = image_set(dataset, "train", pixels_for(model, dataset, "train"))
    order = torch.arange(len(images.labels)).numpy()
    recalibrate(network, images, model.runtime, order, 19)
    return model


if __name__ == "__main__":
    sys.exit(main())
