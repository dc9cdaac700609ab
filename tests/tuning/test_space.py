"""Spaces of settings: built in, and read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd import methods
from lmd.errors import SettingsError
from lmd.fields import as_overrides
from lmd.methods import settings_of
from lmd.tuning.space import Around, Choice, Range, read_space, settled
from lmd.tuning.spaces import OWN, space_of


def ends(part: Range | Choice) -> tuple[object, object]:
    return (part.values[0], part.values[-1]) if isinstance(part, Choice) else (part.low, part.high)


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("budget", ["paper", "short"])
def test_both_ends_of_each_space_are_settings_of_the_method(name: str, budget: str) -> None:
    base = settings_of(name, budget)
    space = settled(space_of(name, methods.load(name)), base, name)
    assert {"stage1.optimisation.lr", "stage1.optimisation.weight_decay"} <= space.keys()
    for place in (0, 1):
        values = {key: ends(part)[place] for key, part in space.items()}
        assert settings_of(name, budget, overrides=as_overrides(values)) != base


def test_spaces_are_those_of_methods() -> None:
    assert OWN.keys() <= set(methods.names())


def test_around_begins_at_the_value_at_hand() -> None:
    settings = settings_of("ce", overrides=["stage1.optimisation.lr=0.03"])
    found = settled({"stage1.optimisation.lr": Around(10)}, settings, "ce")
    assert found == {"stage1.optimisation.lr": Range(0.003, 0.3, log=True)}


def written(folder: Path, text: str) -> Path:
    file = folder / "space.yaml"
    file.write_text(text)
    return file


def test_a_space_is_read_nested_or_dotted(tmp_path: Path) -> None:
    text = "stage1:\n  optimisation.lr: {times: 3}\n  epochs: {low: 2, high: 4}\nbatch: [8, 16]\nsize: {low: 32, high: 64.5, log: true}\n"
    assert read_space(written(tmp_path, text)) == {
        "stage1.optimisation.lr": Around(3),
        "stage1.epochs": Range(2, 4),
        "batch": Choice((8, 16)),
        "size": Range(32, 64.5, log=True),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no setting"),
        ("lr: 3", "lr = 3: must be {low: X"),
        ("lr: {low: 3}", "must be {low: X"),
        ("lr: {low: 3, high: 2}", "high = 2 must be a number above 3"),
        ("lr: {low: 0, high: 2, log: true}", "low = 0 must be a number above 0"),
        ("lr: {low: a, high: 2}", "low = 'a' must be a number"),
        ("lr: {low: .nan, high: 2}", "low = nan must be a number"),
        ("lr: {low: 1, high: .inf}", "high = inf must be a number"),
        ("lr: {low: 1, high: 2, log: 3}", "log = 3 must be true or false"),
        ("lr: {times: 1}", "times = 1 must be a number above 1"),
        ("lr: []", "the list must hold"),
        ("lr: [[1]]", "the list must hold"),
        ("- a", "must hold 'name: value' lines"),
        ("a: {low: 1, high: 2, step: 3}", "must be {low: X"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_space(written(tmp_path, text))
    assert words in str(refused.value)
    assert "space.yaml" in str(refused.value)


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"my.yaml: unknown setting 'stage1.optimisation.lrr'.*stage1.optimisation.lr"
    ):
        settled({"stage1.optimisation.lrr": Range(0, 1)}, settings_of("ce"), "my.yaml")


def test_around_needs_something_to_multiply() -> None:
    with pytest.raises(SettingsError, match="'times' needs a number above 0"):
        settled({"stage1.optimisation.weight_decay": Around(10)}, settings_of("ce"), "my.yaml")
