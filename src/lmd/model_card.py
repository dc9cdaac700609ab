"""What model.json says of a trained model: all that prediction needs besides the weights."""

from __future__ import annotations

from pydantic import AliasChoices, Field

from lmd.settings import Settings


class Preprocessing(Settings):
    """How an image becomes the network's input: decoded, squashed to `size` x `size`, normalised."""

    size: int
    crop: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bits: int | None = None
    """how many bits the 16-bit images of the training used, where `lmd prepare --bits` said so"""


class TrainedOn(Settings):
    """The data set that a model was trained on."""

    title: str
    source: str
    licence: str
    manifest_sha256: str


class ModelCard(Settings):
    """A trained model's architecture, classes, preprocessing and origin."""

    format: int = 1
    method: str
    encoder: str
    # Version 0.1 wrote "head".
    classifier: str = Field(validation_alias=AliasChoices("classifier", "head"))
    classes: list[str]
    # Version 0.1 wrote "groups" and "groups_rule".
    bands: dict[str, list[str]] = Field(validation_alias=AliasChoices("bands", "groups"))
    bands_rule: str = Field(validation_alias=AliasChoices("bands_rule", "groups_rule"))
    preprocessing: Preprocessing
    precision: str
    training_counts: list[int]
    dataset: TrainedOn
    selected_by: str
    validation_bacc: float | None
    training_seconds: float
