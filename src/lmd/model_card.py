"""What model.json says of a trained model: all that prediction needs besides the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, StringConstraints, model_validator

from lmd.settings import NonNegative, Positive, Settings

Name = Annotated[str, StringConstraints(min_length=1)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

# The frequency of classes that probabilities imply: that of the training images, all alike, or neither.
Prior = Literal["training", "uniform", "unknown"]

# The files beside model.json.
FileName = Literal[
    "model.safetensors",
    "stage1.safetensors",
    "gaussians.safetensors",
    "unlikeness.safetensors",
    "novelty.safetensors",  # What runs of earlier versions call it.
    "images.json",
]
# From the second on a card has its own checksum and those of the files beside it.
# From the third on it says what the outputs are.
FORMAT = 3


class Preprocessing(Settings):
    """How an image becomes the network's input: decoded, squashed to `size` x `size`, normalised."""

    size: Annotated[int, Field(ge=8, le=2048)]
    crop: Literal["none", "center"]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    """how many bits the 16-bit images of the training used, where `lmd prepare --bits` said so"""
    flips: Literal["none", "horizontal", "both"] = "none"
    """mirror images over which features are averaged; a card of an earlier version has none"""


class TrainedOn(Settings):
    """The data set that a model was trained on."""

    title: str
    source: str
    licence: str
    manifest_sha256: str


class Outputs(Settings):
    """What a model's answers are; a card of an earlier version says nothing of it, and nothing is shifted.

    With s the logits and pi the classes' shares of the training images, softmax(s / T) ranks, and
    softmax((s - tau log pi) / T) decides (`evaluation.probability.decisions`).
    """

    tau: NonNegative = 0.0
    """how far the decision is shifted to rare classes; the weights are not"""
    tau_by: Literal["settings", "validation"] = "settings"
    """who chose it"""
    tau_validation: NonNegative | None = None
    """what validation chooses, or would have chosen; None where it has no images"""
    temperature: Positive = 1.0
    """T, by which the logits are divided"""
    temperature_by: Literal["none", "validation"] = "none"
    """what it was fitted on"""
    prior: Prior = "unknown"
    """the frequency of classes that the probabilities softmax(s / T) imply"""

    @property
    def differ(self) -> bool:
        """Whether the probabilities for ranking and those for decisions are not the same."""
        return self.tau != 0


class ModelCard(Settings):
    """A trained model's architecture, classes, preprocessing and origin."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = 1
    method: Name
    encoder: Name
    # Version 0.1 wrote "head".
    classifier: Literal["linear", "cosine", "prototype"] = Field(
        validation_alias=AliasChoices("classifier", "head")
    )
    classes: list[Name] = Field(min_length=2)
    # Version 0.1 wrote "groups" and "groups_rule".
    bands: dict[Name, list[str]] = Field(validation_alias=AliasChoices("bands", "groups"))
    bands_rule: str = Field(validation_alias=AliasChoices("bands_rule", "groups_rule"))
    preprocessing: Preprocessing
    precision: Literal["fp32", "bf16"]
    training_counts: list[Annotated[int, Field(ge=0)]]
    dataset: TrainedOn
    selected_by: Literal["val_margin", "val_bacc", "last"]
    validation_bacc: float | None
    validation_margin: float | None = None
    """smoothed balanced accuracy, by which `val_margin` chooses; None of a run of an earlier version"""
    training_seconds: NonNegative
    warnings: list[str] = Field(default_factory=list)
    """what is known against the training from its beginning"""
    outputs: Outputs = Outputs()
    files: dict[FileName, Sha256] = Field(default_factory=dict)
    """SHA-256 of the files beside this one"""

    @property
    def band_of(self) -> dict[str, str]:
        """The frequency band of each class that is in one."""
        return {name: band for band, names in self.bands.items() for name in names}

    @model_validator(mode="after")
    def _fit_together(self) -> ModelCard:
        if twice := [name for name in self.classes if self.classes.count(name) > 1]:
            raise ValueError(f"classes: '{twice[0]}' is there twice")
        if len(self.training_counts) != len(self.classes):
            raise ValueError(f"training_counts must have {len(self.classes)} numbers, one for each class")
        for band, members in self.bands.items():
            if unknown := [name for name in members if name not in self.classes]:
                raise ValueError(f"bands: '{band}' has '{unknown[0]}', which is none of the classes")
        return self
