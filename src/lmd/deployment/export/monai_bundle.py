"""A model as a MONAI bundle: a folder with the program, two configurations and the code that joins them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lmd.deployment.export import bundle_network
from lmd.deployment.export.about import NOTICE
from lmd.deployment.export.onnx_file import Answering
from lmd.deployment.export.torch_file import LOADER, PROGRAM, write_torch
from lmd.model_card import ModelCard
from lmd.version import __version__

if TYPE_CHECKING:
    from torch.export import ExportedProgram

README = "docs/README.md"
_MODEL, _SCRIPTS = Path("models"), Path("scripts")
NAMES = {
    "configs/metadata.json": "what MONAI has to know of it",
    "configs/inference.json": "how images are read and answered",
    f"models/{PROGRAM}": "the model, a program of torch.export",
    "scripts/network.py": "the model as MONAI's configuration names it",
    f"scripts/{LOADER}": "loads the program",
    "LICENSE": "of the model",
}


def write_bundle(
    folder: Path, program: ExportedProgram, about: Mapping[str, Any], card: ModelCard
) -> Answering:
    """Writes a bundle into a folder, and returns what its program answers."""
    for name in ("configs", "docs", _MODEL, _SCRIPTS):
        (folder / name).mkdir()
    answer = write_torch(folder / _MODEL, program, about)
    (folder / _MODEL / LOADER).rename(folder / _SCRIPTS / LOADER)
    (folder / _SCRIPTS / "__init__.py").write_text('"""The code of this bundle."""\n', encoding="utf-8")
    code = Path(bundle_network.__file__).read_text(encoding="utf-8")
    code = code.replace("lmd.deployment.export.load_program", "scripts.load")
    (folder / _SCRIPTS / "network.py").write_text(code, encoding="utf-8")
    _write(folder / "configs" / "metadata.json", _metadata(card))
    _write(folder / "configs" / "inference.json", _inference(card))
    licence = f"{NOTICE}\n\nLicence of the training data ({card.dataset.title}): {card.dataset.licence}\n"
    (folder / "LICENSE").write_text(licence, encoding="utf-8")
    return answer


def _write(path: Path, tree: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _metadata(card: ModelCard) -> dict[str, Any]:
    size, count = card.preprocessing.size, len(card.classes)
    names = {str(number): name for number, name in enumerate(card.classes)}
    image = {
        "type": "image",
        "format": "RGB",
        "num_channels": 3,
        "spatial_shape": [size, size],
        "dtype": "float32",
        "value_range": [0, 255],
        "is_patch_data": False,
        "channel_def": {"0": "red", "1": "green", "2": "blue"},
    }
    answer: dict[str, Any] = {
        "type": "probabilities",
        "format": "classes",
        "num_channels": count,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": names,
    }
    return {
        "version": "1.0.0",
        "changelog": {"1.0.0": f"written by lmd export {__version__}"},
        "monai_version": "1.4.0",
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": "2.0.0",
        "required_packages_version": {"pillow": "11.0.0"},
        "name": f"{card.method} on {card.dataset.title}",
        "task": "classification of images",
        "description": f"{card.encoder} trained by {card.method}. {NOTICE}",
        "authors": "see docs/README.md",
        "copyright": f"training data: {card.dataset.licence}",
        "data_source": card.dataset.source,
        "intended_use": NOTICE,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": answer}},
    }


def _inference(card: ModelCard) -> dict[str, Any]:
    return {
        "imports": ["$import scripts.network as bundle"],
        "bundle_root": ".",
        "images": "images",
        "output": "$@bundle_root + '/answers.csv'",
        "device": "cpu",
        "batch": 32,
        "size": card.preprocessing.size,
        "crop": card.preprocessing.crop,
        "classes": list(card.classes),
        "network_def": {
            "_target_": "scripts.network.Probabilities",
            "path": f"$@bundle_root + '/models/{PROGRAM}'",
            "answer": "p",
        },
        "network": "$@network_def.to(@device)",
        "data": "$bundle.image_files(@images)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "LoadImaged",
                    "keys": "image",
                    "reader": "PILReader",
                    "converter": "$lambda picture: bundle.small(picture, @size, @crop)",
                    "reverse_indexing": False,
                },
                {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1},
                {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32", "track_meta": False},
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@data", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": "@batch"},
        "run": ["$bundle.write_answers(@network, @dataloader, @data, @classes, @output)"],
    }
