"""Settings: layers, overrides, and errors that name what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from lmd import methods
from lmd.errors import SettingsError
from lmd.methods import decoupling
from lmd.methods import lmd as lmd_method
from lmd.recipe import read_recipe
from lmd.run import upgraded
from lmd.settings import CommonSettings, Optimisation, Settings, merge, parse_override, resolve

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_method.py"


def test_later_layers_win_and_overrides_win_over_all() -> None:
    recipe = {"size": 64, "stage1": {"epochs": 3}}
    settings = resolve(lmd_method.Settings, {"size": 32, "batch": 16}, recipe, overrides=["stage1.epochs=5"])
    assert (settings.size, settings.batch, settings.stage1.epochs) == (64, 16, 5)


def test_an_override_of_a_group_keeps_its_other_values() -> None:
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    settings = resolve(lmd_method.Settings, overrides=["m_step.optimisation.lr=0.5"])
    expected = lmd_method.Settings().m_step.optimisation.model_copy(update={"lr": 0.5})
    assert settings.m_step.optimisation == expected
    assert expected.weight_decay > 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stage1.epoch=5", ["stage1.epoch", "stage1.epochs"]),
        ("stage1.epochs=0", ["stage1.epochs", "0", "must be at least 1"]),
        ("size=banana", ["size", "banana"]),
        ("stage1.kl=sideways", ["stage1.kl", "sideways", "teacher_student"]),
        ("e_step.distance=manhattan", ["e_step.distance", "manhattan", "precision"]),
        ("stage1.optimisation.lr=-1", ["stage1.optimisation.lr", "-1"]),
        ("stage1.optimisation.lr=.nan", ["stage1.optimisation.lr", "nan"]),
        ("stage1", ["name=value", "stage1"]),
        ("=3", ["name=value"]),
    ],
)
def test_a_wrong_override_is_one_line_that_names_it(override: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(lmd_method.Settings, overrides=[override])
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage2.head_optimisation.lr=0.1", "it is now 'm_step.optimisation.lr'"),
        ("stage2.encoder_optimisation={lr: 1}", "it is now 'e_step.optimisation.lr'"),
        ("stage2.iterations=3", "it is now 'iterations'"),
        ("rrl=false", "it is now 'without'"),
        ("stage1.ramp=linear", "it is now 'stage1.ramp_epochs'"),
        ("stage1.teacher_bn=batch", "it is gone"),
        ("stage2.phi_cap=3", "it is gone"),
    ],
)
def test_a_name_of_an_earlier_version_is_refused_with_todays(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"is of an earlier version: {message}"):
        resolve(lmd_method.Settings, overrides=[override])


def test_the_power_of_norms_has_no_longer_the_name_of_the_shift() -> None:
    with pytest.raises(SettingsError, match=r"earlier version: it is now 'stage2\.norm_power'"):
        resolve(decoupling.Settings, {"stage2": {"tau": 0.5}})
    old = {"size": 64, "calibration": "none", "tau": 0.25, "stage2": {"ncm_features": "un", "tau": 0.5}}
    new = upgraded(old)
    assert (new["tau"], new["stage2"]) == (0.25, {"ncm_features": "un", "norm_power": 0.5})
    assert resolve(decoupling.Settings, {"stage2": new["stage2"]}).stage2.norm_power == 0.5


def test_lmd_has_at_most_28_settings_of_its_own() -> None:
    """An optimisation counts as one; what every method has does not count."""

    def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
        found: list[str] = []
        for name, field in model.model_fields.items():
            kind = field.annotation
            group = isinstance(kind, type) and issubclass(kind, Settings) and kind is not Optimisation
            found += leaves(kind, f"{prefix}{name}.") if group else [prefix + name]  # type: ignore[arg-type]
        return found

    own = [name for name in leaves(lmd_method.Settings) if name not in CommonSettings.model_fields]
    assert len(own) <= 28, own


SOURCE = re.compile(r"\b(paper|authors|ours)\b")


@pytest.mark.parametrize("name", [*methods.names(), str(EXAMPLE)])
def test_every_setting_is_described_in_one_line(name: str) -> None:
    """Groups are, too; and each line says where the default is from."""

    def undescribed(model: type[BaseModel], prefix: str = "") -> list[str]:
        found: list[str] = []
        for field_name, field in model.model_fields.items():
            text, kind = field.description or "", field.annotation
            if not SOURCE.search(text) or "\n" in text.strip() or len(text) > 110:
                found.append(prefix + field_name)
            if isinstance(kind, type) and issubclass(kind, Settings):
                found += undescribed(kind, f"{prefix}{field_name}.")
        return found

    assert undescribed(methods.load(name, allow_code=True).Settings) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("size=banana", "setting size = 'banana': must be a whole number"),
        ("size=1.5", "setting size = 1.5: must be a whole number"),
        ("size=4000", "setting size = 4000: must be at most 2048"),
        ("stage1.optimisation.lr=-1", "setting stage1.optimisation.lr = -1: must be more than 0"),
        ("stage1.optimisation.lr=fast", "setting stage1.optimisation.lr = 'fast': must be a number"),
        ("stage1.optimisation.momentum=1", "setting stage1.optimisation.momentum = 1: must be less than 1"),
        ("pretrained=perhaps", "setting pretrained = 'perhaps': must be true or false"),
        ("encoder=18", "setting encoder = 18: must be text"),
        ("stage1=3", "setting stage1 = 3: must be a group of settings; set one of its members"),
        ("tau=-1", "setting tau = -1: must be a number from 0 on, or 'validation'"),
        ("tau=valid", "setting tau = 'valid': must be a number from 0 on, or 'validation'"),
        ("tau=true", "setting tau = True: must be a number from 0 on, or 'validation'"),
        ("tau=.inf", "setting tau = inf: must be a number from 0 on, or 'validation'"),
        (
            "select=lst",
            "setting select = 'lst': must be one of 'val_margin', 'val_bacc' or 'last'; did you mean 'last'?",
        ),
        ("{size: 16, precision: bf16}", "--set needs name=value, found '{size: 16, precision: bf16}'"),
    ],
)
def test_what_a_value_must_be_is_said_in_plain_words(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(lmd_method.Settings, overrides=[override])
    assert str(caught.value) == message


def test_a_fault_of_several_settings_together_does_not_list_all_of_them() -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(lmd_method.Settings, overrides=["size=16", "precision=bf16"])
    assert str(caught.value) == "settings: bf16 needs images of at least 32 pixels, not 16"


def test_settings_are_frozen() -> None:
    settings = resolve(lmd_method.Settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.size = 3  # type: ignore[misc]


@pytest.mark.parametrize("text", ["- a\n- b\n", "{", "3\n"])
def test_a_recipe_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(SettingsError, match=r"recipe .*recipe\.yaml"):
        read_recipe(recipe)


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read recipe"):
        read_recipe(tmp_path / "none.yaml")


def test_an_override_is_read_as_yaml() -> None:
    assert parse_override("a.b=[1, 2]") == {"a": {"b": [1, 2]}}
    assert parse_override("a=1e-4") == {"a": "1e-4"} or parse_override("a=1e-4") == {"a": 1e-4}


def test_a_name_of_thousands_of_parts_is_refused_in_one_line() -> None:
    """Found by `make fuzz` (set, seed 42, input 8637): the tree of such a name was deeper than Python goes."""
    with pytest.raises(SettingsError, match=r"a name of 6000 parts; 40 are the most") as error:
        parse_override(".".join(["optimis"] * 6000) + "=1")
    assert len(str(error.value)) < 300
    assert parse_override(".".join("a" * 40) + "=1")


def test_scientific_notation_reaches_a_number() -> None:
    settings = resolve(lmd_method.Settings, overrides=["e_step.optimisation.lr=1e-6"])
    assert settings.e_step.optimisation.lr == 1e-6


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("budget", methods.FIXED_BUDGETS)
def test_every_budget_of_every_method_resolves_and_round_trips(name: str, budget: str) -> None:
    method = methods.load(name)
    settings = methods.settings_of(name, budget)
    assert resolve(method.Settings, settings.model_dump(mode="json")) == settings


def test_the_defaults_of_lmd_are_the_papers() -> None:
    settings = resolve(lmd_method.Settings)
    assert settings.stage1.consistency_weight == 10.0
    assert settings.m_step.virtual_per_class == 50_000
    assert settings.e_step.distribution_weight == 1e-4
    assert settings.m_step.optimisation.lr == 1e-5
    assert settings.e_step.optimisation.lr == 1e-6
    assert (settings.encoder, settings.size, settings.batch) == ("resnet18", 224, 128)


def test_unknown_methods_and_budgets_offer_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="did you mean 'lmd'"):
        methods.load("ldm")
    with pytest.raises(SettingsError, match="did you mean 'short'"):
        methods.budget(methods.load("ce"), "shrt")
