"""The rules of the budget "auto": what the facts ask for. docs/budgets.md has them as a table, with reasons.

Every rule is a pure function of the facts, or of the facts and the settings that are in force. A setting that
a person has chosen is in force, and the other rules start from it.
"""

from __future__ import annotations

from typing import Any

from lmd.amounts import Steps
from lmd.planning.facts import Facts
from lmd.settings import CommonSettings, Tree
from lmd.stages.base import SupervisedSettings
from lmd.stages.classifier_training import ClassifierSettings

SHARE_OF_IMAGES, LARGEST_BATCH, SMALLEST_BATCH = 10, 64, 2
SIZES = {"cpu": 64, "cuda": 224}  # Pixels at most, by device.
SMALLEST_SIZE = 8
SHARE_OF_MEMORY = 4  # The decoded images take a fourth of the main memory at most.
FEWEST_STEPS, MOST_STEPS, EPOCHS = 500, 10_000, 40
FEWEST_VALIDATED = 10  # Images of the rarest class by which validation may choose an epoch.
CLASSIFIER_STEPS = 500  # Of a stage that trains a classifier on features: it costs seconds.
CANNOT_LEARN = 200  # Gradient steps below which a warning is given.


def first_rules(facts: Facts) -> Tree:
    """Returns the settings that the facts alone decide."""
    return {
        "size": image_size(facts),
        "batch": batch_size(facts),
        "last_batch": "even",
        "precision": "auto",
        "select": "last" if facts.rarest_validated < FEWEST_VALIDATED else "val_margin",
        "calibration": "temperature",
    }


def batch_size(facts: Facts) -> int:
    """Returns a tenth of the training images, from 2 to 64.

    >>> [batch_size(Facts(n, 1, 150)) for n in (12, 243, 7005)]
    [2, 24, 64]
    """
    return min(max(facts.images // SHARE_OF_IMAGES, SMALLEST_BATCH), LARGEST_BATCH)


def image_size(facts: Facts) -> int:
    """Returns the device's size, but no more pixels than the images have or than memory holds.

    >>> [image_size(Facts(243, 1, side, device)) for side, device in ((28, "cpu"), (150, "cuda"))]
    [28, 150]
    """
    wanted = min(SIZES[facts.device], facts.side or SIZES[facts.device])
    while wanted > SMALLEST_SIZE and not _fits(facts, wanted):
        wanted //= 2
    return max(wanted, SMALLEST_SIZE)


def _fits(facts: Facts, size: int) -> bool:
    return facts.memory is None or facts.images * 3 * size**2 <= facts.memory / SHARE_OF_MEMORY


def stage_lengths(facts: Facts, model: type[CommonSettings]) -> Tree:
    """Returns the length of each stage of a method that has one, and the course of the rate of the first.

    A stage that trains a classifier on features keeps its authors' epochs as the least. Settings that are not
    those of a stage of gradient descent are the method's own matter.
    """
    lengths: Tree = {}
    for name, field in model.model_fields.items():
        group: Any = field.default
        if isinstance(group, ClassifierSettings):
            lengths[name] = {"epochs": Steps(CLASSIFIER_STEPS, group.epochs)}
        elif isinstance(group, SupervisedSettings):
            lengths[name] = {"epochs": Steps(step_target(facts)), "optimisation": {"schedule": "cosine"}}
    return lengths


def step_target(facts: Facts) -> int:
    """Returns the gradient steps of a stage that trains the encoder: 40 epochs of full batches, in bounds.

    >>> [step_target(Facts(n, 1, 150)) for n in (243, 7005, 100_000)]
    [500, 4379, 10000]
    """
    steps = -(-EPOCHS * facts.images // LARGEST_BATCH)
    return min(max(steps, FEWEST_STEPS), MOST_STEPS)
