"""The training images whose features are nearest to an upload's, where they still lie on this machine.

What is shown of them is a small picture and the class. No name, path or group leaves this module.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmd.data.dataset.manifest import Dataset
from lmd.deployment.serving.engine import Engine
from lmd.deployment.serving.schema import Near
from lmd.errors import LmdError
from lmd.evaluation.explain import nearest, spread_over_classes
from lmd.evaluation.leaks.own import training_set
from lmd.evaluation.outputs import read_images
from lmd.folds.folder import FoldsRun
from lmd.reporting.scene import SIDE
from lmd.reporting.thumbnails import thumbnails
from lmd.run import RunFolder, read_model_card

COUNT = 3
_KNOWN = 100  # Training images of each class that may be nearest.
NOT_YET = "the training images are still being read: ask again in a moment"
_NONE = "the training images do not lie where they lay when the model was trained"
_OFF = "nearest training images are not shown by this server"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """Training images with their features [M, C] and classes."""

    dataset: Dataset
    files: Sequence[str]
    labels: Sequence[str]
    features: np.ndarray

    def near(self, features: np.ndarray) -> list[Near]:
        """Returns the training images nearest to an image with the features [C]."""
        places, cosines = nearest(features[None], self.features, COUNT)
        pictures = thumbnails(self.dataset, [self.files[place] for place in places[0]], SIDE)
        return [
            Near(label=self.labels[place], cosine=round(float(cosine), 4), picture=picture)
            for place, cosine, picture in zip(places[0], cosines[0], pictures, strict=True)
        ]


def known_of(engine: Engine, run: RunFolder, wanted: bool) -> Future[Known | str]:
    """Returns the future training images of a run, or in words why there are none; threads of ours read them.

    They are answered like uploads: whoever asks meanwhile waits for one small batch at most.
    """
    found: Future[Known | str] = Future()
    if not wanted:
        found.set_result(_OFF)
        return found

    def work() -> None:
        try:
            found.set_result(_read(engine, run))
        except LmdError:
            found.set_result(_NONE)
        except Exception as error:
            _log.warning("the training images could not be read (%s)", type(error).__name__)
            found.set_result(_NONE)

    threading.Thread(target=work, name="lmd-training-images", daemon=True).start()
    return found


def _read(engine: Engine, run: RunFolder) -> Known | str:
    one = next(iter(run.folds.values())) if isinstance(run, FoldsRun) else run
    dataset = training_set(one, read_model_card(one))
    if dataset is None:
        return _NONE
    table = dataset.split("train")
    number = {name: k for k, name in enumerate(engine.model.classes)}
    rows = spread_over_classes(table["label"].map(number).to_numpy(dtype=np.int64), _KNOWN, seed=0)
    files, labels = table["file"].to_numpy()[rows], table["label"].to_numpy()[rows]
    there, features = _features(engine, dataset, [dataset.path(file) for file in files])
    if not there:
        return _NONE
    return Known(dataset, files[there].tolist(), labels[there].tolist(), features)


def _features(engine: Engine, dataset: Dataset, paths: list[Path]) -> tuple[list[int], np.ndarray]:
    """The places of the files that can be read, and their features; few images are in memory at once."""
    made, frame = engine.model.card.preprocessing, dataset.info.recipe.get("frame")
    there: list[int] = []
    features: list[np.ndarray] = []
    for start in range(0, len(paths), engine.most):
        part = paths[start : start + engine.most]
        images = read_images(made, frame, True, part)
        used = set(images.used)
        there += [start + place for place, path in enumerate(part) if str(path) in used]
        answers = [engine.answer(pixels) for pixels in images.pixels]
        features += [answer.result().features.numpy() for answer in answers]
    return there, np.array(features)
