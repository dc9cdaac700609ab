"""What is asked of an export, and what can be refused before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lmd.data.asked import image_files, refuse_missing
from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.output import refuse_used
from lmd.errors import SettingsError, suggest
from lmd.extras import how_to_install

ONNX, TORCH, MONAI = "onnx", "torch", "monai"
KINDS = (ONNX, TORCH, MONAI)
_NEEDS = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Asked:
    """The kind of an export, its variants, and the images that it is verified on."""

    kind: str = ONNX
    fp16: bool = False
    int8: bool = False
    images: Sequence[Path] = ()
    """instead of the data set's"""
    split: str = "test"
    """on which the loss of variants is measured"""

    @property
    def variants(self) -> bool:
        """Whether there are any."""
        return self.fp16 or self.int8

    def place(self, run: Path, out: Path | str | None) -> Path:
        """Returns the folder to make: the one that is named, else one in the run's folder."""
        return run / f"export-{self.kind}" if out is None else Path(out)

    def check(self, out: Path) -> None:
        """Refuses what cannot be done.

        Raises:
            SettingsError: there is no such kind or split, a package is missing, or a kind has no variants.
            DataError: the output folder is in use, or an image is missing.
        """
        if self.kind not in KINDS:
            raise SettingsError(f"unknown format '{self.kind}'{suggest(self.kind, KINDS)}")
        if self.split not in SPLITS:
            raise SettingsError(f"unknown split '{self.split}'{suggest(self.split, SPLITS)}")
        if self.variants and self.kind != ONNX:
            which = "fp16" if self.fp16 else "int8"
            raise SettingsError(f"--{which} makes a second ONNX file: leave it out, or take --format onnx")
        if out.exists() and not out.is_dir():
            raise SettingsError(f"output folder {out} is a file: name a folder")
        refuse_used(out)
        refuse_missing(image_files(self.images))
        if self.kind == ONNX:
            _check_installed()


def _check_installed() -> None:
    """Refuses ONNX where a package for it is missing.

    Raises:
        SettingsError: the package, and how to install it.
    """
    missing = next((name for name in _NEEDS if find_spec(name) is None), None)
    if missing is not None:
        raise SettingsError(f"--format onnx needs the package '{missing}': {how_to_install('export')}")
