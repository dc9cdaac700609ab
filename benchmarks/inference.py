"""Prediction from image files against its two parts; the network at rest against the trained one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measure import ROOT, Row, side_by_side
from benchmarks.plain import as_timm_computes
from lmd.data.dataset.sources.phantom import CLASSES, draw
from lmd.data.decode.files import list_images
from lmd.data.decode.images import decode_small
from lmd.data.feed.scale import MEAN, STD, clean
from lmd.evaluation.predict import Model, predict_files
from lmd.model_card import ModelCard, Preprocessing
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import batch_for
from lmd.models.network import Network
from lmd.parallel import in_threads
from lmd.runtime import Runtime

ENCODER, SIZE = "resnet18", 64
REAL = "isic2019/ISIC_2019_Training_Input"
FEW, PHANTOMS, DRAWN = 48, 2048, 64
RESIDENT = 1024  # Images of the bare network, gone through again and again: all as floats would be 500 MB.


def rows(runs: int, device: str, quick: bool) -> Iterator[Row]:
    """Yields for each precision: `predict` against the slower of its two parts, and the network at rest."""
    with TemporaryDirectory() as folder:
        what, files = image_files(Path(folder), quick)
        for precision in dict.fromkeys((Runtime("auto", device).precision, "fp32")):
            model = model_of(precision, device)
            yield from predict_rows(runs, device, model, what, files)
            yield rest_row(runs, device, model, files)


def image_files(folder: Path, quick: bool) -> tuple[str, list[Path]]:
    """Returns what the images are and their files: the real ones where they lie beside the project."""
    real = Path(os.environ.get("LMD_SHARED", ROOT.parent / "shared")) / "data" / REAL
    if real.is_dir():
        return "ISIC 2019 images", list_images(real)[: FEW if quick else None]
    for number in range(FEW if quick else PHANTOMS):
        seen = str(number % DRAWN)  # To draw one takes longer than all else.
        if number < DRAWN:
            picture = draw(CLASSES[number % len(CLASSES)], seen, seen, 200, seed=0)
            Image.fromarray(picture[:150]).save(folder / f"{number:05d}.jpg", quality=75)
        else:
            (folder / f"{number:05d}.jpg").write_bytes((folder / f"{int(seen):05d}.jpg").read_bytes())
    return "phantom images", list_images(folder)


def model_of(precision: str, device: str) -> Model:
    """Returns a model that has seen nothing: what it answers does not matter here."""
    runtime, encoder = Runtime(precision, device), build_encoder(ENCODER)
    network = Network(encoder, build_classifier("linear", num_features(encoder), len(CLASSES), seed=0))
    preprocessing = Preprocessing(size=SIZE, crop="none", mean=MEAN, std=STD)
    card = ModelCard.model_construct(classes=CLASSES, preprocessing=preprocessing)
    return Model(network.to(runtime.device).eval(), card, runtime)


def predict_rows(runs: int, device: str, model: Model, what: str, files: list[Path]) -> Iterator[Row]:
    """All of `predict` against what is slower by itself: decoding on all cores, or the trained network.

    The network as timm computes it, and as the package does: on a CPU the latter is faster, and the share
    of decoding, which needs the same cores, larger.
    """
    batches = resident_batches(model, files)
    times = side_by_side(
        device,
        runs,
        ours=lambda: predict_files(model, files),
        decoding=lambda: in_threads(small, files),
        timm=bare_passes(model, as_timm_computes(model.network), batches, len(files)),
        network=bare_passes(model, model.network, batches, len(files)),
    )
    name = f"predict: {len(files):,} {what}, {ENCODER}, {SIZE}², {model.runtime.precision}"
    for network, whose in (("timm", "bare network as timm computes it"), ("network", "our bare network")):
        slower = max("decoding", network, key=times.__getitem__)
        against = "bare decoding" if slower == "decoding" else whose
        parts = f"decoding {times['decoding']:.3g} s, network {times[network]:.3g} s"
        yield Row(f"{name} ({parts})", times["ours"], times[slower], against, "s", "at most", 1 / 0.85)


def rest_row(runs: int, device: str, model: Model, files: list[Path]) -> Row:
    """The network that answers against the trained network that it was made of, as timm computes it."""
    batches = resident_batches(model, files)
    times = side_by_side(
        device,
        runs,
        ours=bare_passes(model, model.at_rest, batches, sum(map(len, batches))),
        other=bare_passes(model, as_timm_computes(model.network), batches, sum(map(len, batches))),
    )
    precision = model.runtime.precision
    change = "weights rounded once" if precision == "bf16" else "BatchNorm folded"
    name = f"network at rest: {ENCODER}, {SIZE}², {precision}: {change}"
    return Row(name, times["ours"], times["other"], "the trained one as timm computes it", "s", "at least", 1)


def small(path: Path) -> np.ndarray:
    """Returns a file's image as the network takes it."""
    return decode_small(path, SIZE)


def resident_batches(model: Model, files: list[Path]) -> list[Tensor]:
    """Returns normalised images on the device, in batches as large as those of `predict`."""
    pixels = torch.from_numpy(np.stack(in_threads(small, files[:RESIDENT]))).to(model.runtime.device)
    return list(clean(pixels).split(batch_for(model.runtime.device, SIZE)))


def bare_passes(model: Model, network: Network, batches: list[Tensor], count: int) -> Callable[[], None]:
    """Returns a run of a network over so many images, and nothing else."""

    def run() -> None:
        done = 0
        with torch.inference_mode():
            while done < count:
                for batch in batches:
                    part = batch[: count - done]
                    if len(part):
                        with model.runtime.autocast():
                            network(part)
                    done += len(part)

    return run
