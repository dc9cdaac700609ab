"""A fitted estimator in one safetensors file, with a checksum and without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmd.errors import CheckpointError
from lmd.files import load_tree, save_tree
from lmd.losses.gaussian import ClassGaussians
from lmd.settings import Tree

_MARK, _FORMAT = "virtual_feature_classifier", 1
# What a fitted estimator is, besides its parameters, its classes and its Gaussians.
_ARRAYS = ("coef_", "intercept_", "class_count_", "log_prior_")
_NUMBERS = ("tau_", "scale_", "loss_", "n_iter_", "n_features_in_")
_NAMES = "feature_names_in_"  # Only where the features were a table.


def write_fitted(path: Path, estimator: Any, parameters: dict[str, Any]) -> None:
    """Writes the parameters and what `fit` has found.

    Raises:
        CheckpointError: the file cannot be written.
    """
    if not isinstance(parameters["random_state"], int):  # A generator is no number, and has been used up.
        parameters = {**parameters, "random_state": 0}
    classes = estimator.classes_
    tree = {
        _MARK: _FORMAT,
        "parameters": {name: _plain(value) for name, value in parameters.items()},
        "classes": [classes.dtype.str, classes.tolist()],
        "arrays": {name: torch.from_numpy(getattr(estimator, name)) for name in _ARRAYS},
        "numbers": {name: _plain(getattr(estimator, name)) for name in _NUMBERS},
        "gaussians": estimator.gaussians_.as_dict(),
        "shrinkage": estimator.shrinkage_,
        "feature_names": [str(name) for name in getattr(estimator, _NAMES, [])],
    }
    save_tree(path, tree)


def _plain(value: Any) -> Any:
    """A number of numpy's as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def read_fitted(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the parameters of an estimator, and its fitted attributes by name.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    tree = load_tree(path)
    if not isinstance(tree, dict) or tree.get(_MARK) != _FORMAT:
        raise CheckpointError(f"{path} holds no VirtualFeatureClassifier that this version can read")
    try:
        return _unpacked(tree)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # Its checksum fits: made by somebody.
        raise CheckpointError(f"{path} is damaged: it does not hold a fitted estimator") from error


def _unpacked(tree: Tree) -> tuple[Tree, Tree]:
    """The parameters and the fitted attributes in a tree."""
    kind, names = tree["classes"]
    fitted = {name: value.numpy() for name, value in tree["arrays"].items()} | tree["numbers"]
    fitted["classes_"] = np.array(names, dtype=kind)
    fitted["gaussians_"] = ClassGaussians.from_dict(tree["gaussians"])
    fitted["shrinkage_"] = tree["shrinkage"]
    if tree["feature_names"]:
        fitted[_NAMES] = np.array(tree["feature_names"], dtype=object)
    return tree["parameters"], fitted
