"""Which frozen encoder makes the features: one that is named, or that of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from lmd.errors import SettingsError
from lmd.folds.folder import opened, refuse_folds
from lmd.model_card import Preprocessing
from lmd.models.encoder import build_encoder, check_encoder
from lmd.models.hub import NoWeightsError
from lmd.models.names import native_size, normalisation
from lmd.models.packages import from_package
from lmd.run import RunFolder, read_model_card

_WAYS_OUT = (
    "without a hub: {}, or --weights FILE (safetensors), or the encoder of a finished run with --run RUN "
    "(docs/weights.md)"
)
SIZE = 224  # Where timm does not say what an encoder was made for.


@dataclass(frozen=True)
class Source:
    """A frozen encoder: its name, how its images are prepared, and where its weights come from."""

    encoder: str
    preprocessing: Preprocessing
    weights: str | None
    precision: Literal["fp32", "bf16"] = "fp32"
    partial: bool = False

    def check(self) -> None:
        """Refuses an encoder, a size or weights that cannot be had, before an image is decoded.

        Raises:
            SettingsError, CheckpointError: one line on what is wrong.
        """
        try:
            check_encoder(self.encoder, **self._choices())
        except NoWeightsError as error:
            error.ways = _WAYS_OUT.format(from_package("--encoder "))
            raise

    def build(self) -> nn.Module:
        """Returns the encoder with its weights."""
        return build_encoder(self.encoder, **self._choices())

    def _choices(self) -> dict[str, Any]:
        weights, size = self.weights, self.preprocessing.size
        return {
            "size": size,
            "pretrained": weights is None,
            "weights": weights,
            "partial_weights": self.partial,
        }


def named(
    encoder: str, weights: Path | str | None, size: int | None, crop: str | None, bits: Any, partial: bool
) -> Source:
    """Returns an encoder of timm's with weights from anywhere.

    Raises:
        SettingsError: a size or a crop that no encoder has.
    """
    crop, size = crop or "none", size or native_size(encoder) or SIZE
    if crop not in ("none", "center"):
        raise SettingsError(f"crop = {crop!r}: must be 'none' or 'center'")
    if not 8 <= size <= 2048:
        raise SettingsError(f"size = {size}: must be from 8 to 2048 pixels")
    mean, std = normalisation(encoder)
    made = Preprocessing(size=size, crop=crop, mean=mean, std=std, bits=bits)
    return Source(encoder, made, None if weights is None else str(weights), partial=partial)


def of_run(run: RunFolder | Path | str, **others: Any) -> Source:
    """Returns the encoder of a finished run, with images prepared as in its training.

    Raises:
        SettingsError: something else is asked for, too, or it is a folds run.
        CheckpointError: the run has not finished.
    """
    for name, value in others.items():
        if value is not None:
            raise SettingsError(f"{name} = {value}: the run {run} says which; leave one of the two out")
    folder = run if isinstance(run, RunFolder) else opened(Path(run))
    refuse_folds(folder, "")
    card = read_model_card(folder)
    return Source(card.encoder, card.preprocessing, str(folder.path), card.precision)
