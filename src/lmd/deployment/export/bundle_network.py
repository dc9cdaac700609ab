"""What the configuration of this bundle names: the network, the pictures that it takes, and its answers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from lmd.deployment.export.load_program import load

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class Probabilities(torch.nn.Module):
    """The program of this bundle; its answer is one of p, which ranks, and d, which decides."""

    def __init__(self, path: str, answer: str = "p") -> None:
        """Loads the program, once it is found to hold no code."""
        super().__init__()
        self.model, self.about = load(path)
        self.answer = "pd".index(answer)

    def train(self, mode: bool = True) -> Probabilities:
        """Changes nothing: a program is always at rest, and refuses to be told."""
        return self

    def both(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns p and d [N, K] of images [N, 3, S, S] with values of 0 to 255, of any type."""
        return self.model(images.round().clamp(0, 255).to(torch.uint8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns p or d."""
        return self.both(images)[self.answer]


def small(picture: Image.Image, size: int, crop: str) -> Image.Image:
    """Returns a picture as the model takes it: upright, in RGB, squashed or cut, of its size."""
    picture.draft("RGB", (2 * size, 2 * size))  # A large JPEG is decoded no finer than that needs.
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    if crop == "center":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return picture.resize((size, size), Image.Resampling.BILINEAR)


def image_files(folder: str) -> list[dict[str, str]]:
    """Returns the images below a folder, as MONAI's Dataset takes them."""
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _ENDINGS)
    return [{"image": str(path)} for path in found]


def write_answers(
    network: Probabilities,
    batches: Iterable[Mapping[str, Any]],
    data: Sequence[Mapping[str, str]],
    classes: Sequence[str],
    output: str,
) -> None:
    """Writes a line for each image: the class that is decided for, and p and d of each class."""
    with torch.inference_mode():
        found = [torch.cat(network.both(batch["image"]), 1) for batch in batches]
    with Path(output).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "predicted", *(f"{kind}_{name}" for kind in "pd" for name in classes)])
        rows = torch.cat(found).tolist() if found else []
        for one, row in zip(data, rows, strict=True):
            decided = row[len(classes) :]
            writer.writerow([one["image"], classes[decided.index(max(decided))], *row])
