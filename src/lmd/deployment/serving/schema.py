"""What the HTTP interface takes and gives, as its OpenAPI schema says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from lmd.evaluation.parts import Estimate
from lmd.reading import UnreadableError, json_of
from lmd.settings import Settings

RESEARCH = "For research use only. Not a medical device. It must not decide about a patient."
Word = Literal["train", "uniform", "estimate"]
Share = Annotated[float, Field(ge=0, le=1)]


def _tree(value: Any) -> Any:
    """A prior as it stands in a form: a word, or shares in JSON."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json_of(value)
        except UnreadableError as error:
            raise ValueError("must be a word, or JSON that gives each class its share") from error
    return value


# Words and shares alone: the command takes the path of a file, too, which here would be one of the server.
Prior = Annotated[Word | dict[str, Share], BeforeValidator(_tree)]


class Ask(Settings):
    """What is wanted of some images, besides the images."""

    frame: Annotated[int, Field(ge=1)] | None = None
    """which frame or page of files that hold several, counted from 1"""
    sets: Annotated[float, Field(gt=0, lt=1)] | None = None
    """a share such as 0.9: also a set of classes for each image, which holds the true one so often"""
    prior: Prior | None = None
    """how frequent the classes are where the images are from: train, uniform, estimate, or shares in JSON"""
    explain: bool = False
    """also a picture of the image, where its answer comes from, and the nearest training images"""
    skip_bad: bool = False
    """answer the images that can be read, and say of each other one why it cannot be"""
    format: Literal["json", "csv"] = "json"
    """csv: a table with a row for each image, as 'lmd predict' writes it"""


class Near(Settings):
    """A training image that looks alike to the network."""

    label: str
    cosine: float
    """of the angle between the features; 1 is alike"""
    picture: str
    """a small JPEG as a data URI; empty where its file cannot be read"""


class Explanation(Settings):
    """What there is to look at."""

    picture: str
    """the image as it was read, a small JPEG as a data URI"""
    map: str | None
    """where the answer comes from (Grad-CAM); None where the network has no map"""
    nearest: list[Near]
    """training images, the nearest first"""
    notes: list[str]
    """what the map and the images are, or why there are none"""


class Answer(Settings):
    """The answer to an image."""

    image: int
    """its number in the request, from 1: names of files are not kept"""
    error: str | None = None
    """why it could not be read; nothing else is known then"""
    predicted: str | None = None
    """the class with the largest decision probability"""
    probabilities: dict[str, float] = Field(default_factory=dict)
    """p of each class: what ranks images; at a prior, the probabilities there"""
    decisions: dict[str, float] | None = None
    """d of each class, where the model shifts its decisions to rare classes"""
    ranges: dict[str, tuple[float, float]] | None = None
    """of the mean of several models: the smallest and the largest p that one of them gives"""
    set: list[str] | None = None
    """classes that hold the true one as often as was asked for, the most probable first"""
    unlike: float | None = None
    """share of the validation images that are less unlike anything seen"""
    warnings: list[str] = Field(default_factory=list)
    explanation: Explanation | None = None


class Predictions(Settings):
    """The answers to all images of a request."""

    answers: list[Answer]
    notes: list[str]
    """what holds for all of them: what the probabilities, sets or shares are"""
    research_use: str = RESEARCH


class AskAtPrior(Settings):
    """Answers that are wanted at other shares of the classes; no image is sent again."""

    probabilities: Annotated[list[list[Share]], Field(min_length=1, max_length=10_000)]
    """p of each image, in the order of the model's classes"""
    prior: Prior
    """train, uniform, estimate (from these images), or each class with its share"""


class AtShares(Settings):
    """Answers at stated shares of the classes."""

    predicted: list[str]
    probabilities: list[list[float]]
    warnings: list[list[str]]
    """of each image, where its answer is a rare class"""
    shares: dict[str, Estimate]
    """the share of each class; one that was estimated has an interval"""
    notes: list[str]
    research_use: str = RESEARCH


class ClassAbout(Settings):
    """A class, and how well the model finds it."""

    name: str
    band: str | None
    rare: bool
    """in the band of the rarest classes"""
    training_images: int
    level: str | None
    """how well it is found, in words; None where no test images were measured"""
    lines: list[str]
    """sensitivity, specificity and PPV in words, with intervals"""


class Limits(Settings):
    """What a request may be."""

    bytes: int
    pixels: int
    files: int
    seconds: float


class About(Settings):
    """What the model is, what it can be relied on for, and what the server offers."""

    title: str
    version: str
    phantom: bool
    """trained on drawn images, not on patients"""
    models: int
    """1, or how many answer together"""
    classes: list[ClassAbout]
    """in the model's order"""
    verdict: list[str]
    """in words, from its test images; empty where none were measured"""
    warnings: list[str]
    """what is known against the training"""
    outputs: str | None
    """which probabilities are for what, where they differ"""
    no_sets: str | None
    """why there are no prediction sets; None where there are"""
    no_unlikeness: str | None
    no_prior: str | None
    no_estimate: str | None
    maps: str
    nearest: str
    limits: Limits
    research_use: str = RESEARCH


class Health(Settings):
    """Whether the server answers."""

    status: Literal["ok"]


class Problem(Settings):
    """Why a request was not answered."""

    error: str
    """one plain line"""
