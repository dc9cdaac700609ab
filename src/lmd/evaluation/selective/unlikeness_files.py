"""What a run keeps to tell how unlike anything seen an image is: made once, at the end of a training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lmd.data.feed.loader import ImageSet
from lmd.errors import CheckpointError
from lmd.evaluation.outputs import Answering, outputs_of
from lmd.evaluation.selective.unlikeness import Unlikeness, directions, unlikeness_from
from lmd.files import atomic_path
from lmd.losses.gaussian import ClassGaussians, ClassMoments
from lmd.models.network import Output
from lmd.run_folder import RunFolder


def unlikeness_of_model(model: Answering, train: ImageSet, validation: Sequence[Output]) -> Unlikeness:
    """Returns what to measure unlikeness by, after one pass over the clean training images.

    The validation images say what is usual. The class Gaussians of LMD's stage 2 are no substitute: they are
    of features with their lengths, and means over the encoders of several iterations.
    """
    return unlikeness_from(gaussians_of(model, train), features_of(validation))


def features_of(outputs: Sequence[Output]) -> Tensor:
    """Returns the features of all batches [N, C], on the CPU."""
    return torch.cat([output.features.cpu() for output in outputs])


def gaussians_of(model: Answering, images: ImageSet) -> ClassGaussians:
    """Returns the class Gaussians of the directions of some clean images' features."""
    moments: ClassMoments | None = None
    done = 0
    for output in outputs_of(model, images.pixels):
        features = directions(output.features)
        moments = moments or ClassMoments(images.num_classes, features.shape[1])
        moments.add(features, images.labels[done : done + len(features)])
        done += len(features)
    assert moments is not None
    return moments.gaussians()


def unlikeness_of_features(train: Tensor, labels: Tensor, num_classes: int, validation: Tensor) -> Unlikeness:
    """Returns the same of features [N, C] that are there: those of training with labels, and validation."""
    moments = ClassMoments(num_classes, train.shape[1])
    moments.add(directions(train), labels)
    return unlikeness_from(moments.gaussians(), validation)


def write_unlikeness(run: RunFolder, known: Unlikeness) -> None:
    """Writes it beside the model."""
    from safetensors.torch import save_file

    with atomic_path(run.unlikeness) as temporary:
        save_file(known.as_dict(), temporary)


def read_unlikeness(run: RunFolder) -> Unlikeness | None:
    """Returns what a run keeps; None of a run without.

    Raises:
        CheckpointError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not run.unlikeness.is_file():
        return None
    try:
        known = Unlikeness(**load_file(run.unlikeness))
        channels = known.mean.shape[1]
        if known.covariance.shape != (channels, channels) or known.scores.shape != known.lengths.shape:
            raise ValueError("its parts do not fit together")
        known.unlike(known.mean)
    except (OSError, SafetensorError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"cannot read {run.unlikeness}: {error}") from error
    return known
