"""Settings: frozen models filled from layers (defaults < preset < budget < recipe < flags < --set)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lmd.errors import SettingsError, suggest
from lmd.fields import leaf_values, must_be, old_names_of, setting_names
from lmd.reading import MOST_DEPTH, UnreadableError, yaml_of
from lmd.text import shortened

Tree = dict[str, Any]

METHOD = "lmd"  # Where none is named.

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


def _check_tau(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "validation" and not (number and 0 <= value < float("inf")):
        raise ValueError("must be a number from 0 on, or 'validation'")
    return value


Tau = Annotated[float | Literal["validation"], BeforeValidator(_check_tau)]

# Below, the last stage of a network meets 1 x 1 maps, where oneDNN's bf16 gradient of a strided
# convolution is garbage (torch 2.15, docs/log.md).
MIN_BF16_SIZE = 32


class Settings(BaseModel):
    """A frozen group of settings; an unknown name or a value out of range is refused.

    The text under a field describes it: one line with its unit and where the default is from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    # Names of earlier versions and those of today, so that an old recipe is refused with the way out.
    OLD_NAMES: ClassVar[Mapping[str, str]] = {}


class Optimisation(Settings):
    """Stochastic gradient descent, as in section 4.2 of the paper, or Adam; momentum is then its beta_1."""

    optimiser: Literal["sgd", "adam"] = "sgd"
    """kind of gradient descent (LMD paper, section 4.2: SGD)"""
    lr: Positive = 0.01
    """learning rate at its highest (LMD paper, section 4.2: 0.01 in stage 1)"""
    momentum: Decay = 0.9
    """momentum of SGD, or beta_1 of Adam (authors' code of LMD: 0.9)"""
    weight_decay: NonNegative = 0.0
    """weight decay (authors' code of LMD: none in stage 1, 1e-4 in stage 2)"""
    schedule: Literal["constant", "cosine", "cosine_per_epoch"] = "constant"
    """course of the rate: constant (authors' code of LMD), or half a cosine, by steps or by whole epochs"""
    warmup_epochs: NonNegative = 0.0
    """epochs over which the rate grows linearly from 0 (ours: none)"""


class CommonSettings(Settings):
    """What every method shares, so that a comparison is never one of protocol."""

    encoder: str = "resnet18"
    """network that makes features of images: any timm name, with or without tag (LMD paper: ResNet-18)"""
    pretrained: bool = True
    """start from downloaded ImageNet weights (LMD paper)"""
    weights: str | None = None
    """the encoder's, in place of a download: a safetensors file, package:NAME or a run folder (ours: none)"""
    partial_weights: bool = False
    """accept a file of weights that lacks some tensors (ours: no)"""
    freeze: Literal["all", "stem", "none"] = "none"
    """what never changes, BatchNorm included: the whole encoder, its first layers, nothing (LMD paper)"""
    size: Annotated[int, Field(ge=8, le=2048)] = 224
    """pixels of each side of an image (LMD paper)"""
    crop: Literal["none", "center"] = "none"
    """whole image squashed to a square (authors' code of LMD), or its central square"""
    batch: Annotated[int, Field(ge=2)] = 128
    """images in a step (LMD paper)"""
    last_batch: Literal["drop", "even"] = "drop"
    """images that fill no batch: left out of an epoch (authors' code of LMD), or even batches of all"""
    lr_scale: Literal["none", "linear"] = "none"
    """whether learning rates grow with batch / 128 (ours: they do not)"""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """arithmetic of the networks (ours); auto: bf16 where the device multiplies it natively"""
    bn_recalibrate: bool = False
    """re-estimate BatchNorm on clean training images after stage 1 (ours: off)"""
    select: Literal["val_margin", "val_bacc", "last"] = "val_bacc"
    """epoch of the last stage that is kept: best on validation (ours), or the last (authors' code of LMD)"""
    flips: Literal["none", "horizontal", "both"] = "none"
    """mirror images over which features are averaged at rest: in answers and in stage 2 (ours: none)"""
    tau: Tau = 0.0
    """shift of decisions to rare classes, s - tau log pi; validation: chosen there (ours: 0; 0.75 for lmd)"""
    calibration: Literal["temperature", "none"] = "none"
    """divide the logits by a temperature that is fitted on validation after training (ours)"""
    seed: Annotated[int, Field(ge=0)] = 42
    """seed of every random draw (authors' code of LMD)"""

    @model_validator(mode="after")
    def _refuse_bf16_on_tiny_images(self) -> CommonSettings:
        if self.precision == "bf16" and self.size < MIN_BF16_SIZE:
            raise ValueError(f"bf16 needs images of at least {MIN_BF16_SIZE} pixels, not {self.size}")
        return self

    @property
    def usable_precision(self) -> str:
        """The precision to ask for: "auto" is fp32 where images are too small for bf16."""
        return "fp32" if self.size < MIN_BF16_SIZE else self.precision

    def idle(self) -> Mapping[str, Sequence[str]]:
        """Returns settings, or groups of them, that have no effect, by the setting that is the reason."""
        return {}


S = TypeVar("S", bound=Settings)


def parse_override(text: str) -> Tree:
    """Returns the nested tree of one `a.b=value` override; the value is read as YAML.

    >>> parse_override("stage1.epochs=5")
    {'stage1': {'epochs': 5}}
    """
    name, equals, value = text.partition("=")
    parts = name.split(".")
    if not equals or not all(parts):
        raise SettingsError(f"--set needs name=value, found '{shortened(text)}'")
    if len(parts) > MOST_DEPTH:
        raise SettingsError(
            f"--set {shortened(name)}: a name of {len(parts)} parts; {MOST_DEPTH} are the most"
        )
    try:
        leaf: Any = yaml_of(value)
    except UnreadableError as error:
        raise SettingsError(
            f"--set {shortened(name)}: '{shortened(value)}' is not a value: it {error}"
        ) from error
    for part in reversed(parts):
        leaf = {part: leaf}
    return cast("Tree", leaf)


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> Tree:
    """Returns `base` with the values of `top` laid over it, group by group.

    >>> merge({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 9}})
    {'a': 1, 'b': {'c': 9, 'd': 3}}
    """
    result = dict(base)
    for name, value in top.items():
        old = result.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[name] = merge(cast("Tree", old), cast("Tree", value)) if both else value
    return result


def resolve(model: type[S], *layers: Mapping[str, Any], overrides: Sequence[str] = ()) -> S:
    """Returns the settings that the layers give; a later layer wins, overrides win over all.

    Raises:
        SettingsError: one line that names the setting, its value and what is allowed.
    """
    tree = _group_defaults(model)
    for layer in (*layers, *map(parse_override, overrides)):
        tree = merge(tree, layer)
    _refuse_old_names(model, tree)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_explain(model, error)) from error


def _refuse_old_names(model: type[Settings], tree: Tree) -> None:
    old_names, known = old_names_of(model), setting_names(model)
    for name, _ in leaf_values(tree):
        old = next((old for old in old_names if f"{name}.".startswith(f"{old}.")), None)
        if old is not None and name not in known:
            new = old_names[old]
            hint = f"it is now '{new}{name[len(old) :]}'" if new else "it is gone (see CHANGELOG.md)"
            raise SettingsError(f"setting '{name}' is of an earlier version: {hint}")


def _group_defaults(model: type[Settings]) -> Tree:
    """The defaults of a model's groups.

    A group may have defaults of its own where it is used (`m_step.optimisation` has a weight decay,
    `Optimisation` alone has none); a layer that sets one member must leave the others.
    """
    fields = {name: field.default for name, field in model.model_fields.items()}
    return {name: value.model_dump() for name, value in fields.items() if isinstance(value, Settings)}


def budgets(
    smoke: Tree | None = None, short: Tree | None = None, auto: Tree | None = None
) -> dict[str, Tree]:
    """Returns what the budgets "smoke", "short" and "auto" lay over a method's defaults.

    Every method has the same images, epochs and schedule in stage 1; what is given here is a method's own.
    What "auto" has for every method is made from the data (`lmd.planning`); a length there may be a `Share`.
    """
    cosine: Tree = {"schedule": "cosine"}
    common: Tree = {"precision": "auto", "select": "val_margin", "calibration": "temperature"}
    common_smoke: Tree = {**common, "size": 32, "stage1": {"epochs": 2, "optimisation": cosine}}
    common_short: Tree = {**common, "size": 64, "stage1": {"epochs": 12, "optimisation": cosine}}
    return {
        "auto": auto or {},
        "smoke": merge(common_smoke, smoke or {}),
        "short": merge(common_short, short or {}),
    }


def _explain(model: type[Settings], error: ValidationError) -> str:
    errors = error.errors()
    # A misspelt name comes before what it leaves open.
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"setting '{name}' is needed"
    if first["type"] == "extra_forbidden":
        return f"unknown setting '{name}'{suggest(name, setting_names(model))}"
    # A fault of several settings together has no name, and its value is all of them.
    return (
        f"setting {name} = {shortened(repr(first['input']), 200)}: {must_be(first)}"
        if name
        else f"settings: {must_be(first)}"
    )
