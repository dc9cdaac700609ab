"""The one reader of YAML and JSON: plain values come out, or one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lmd import methods
from lmd.errors import SettingsError
from lmd.planning.choice import Asked, choose
from lmd.reading import MOST_YAML, UnreadableError, json_of, text_of, yaml_of
from lmd.recipe import read_recipe
from lmd.settings import parse_override
from tests.command import Command, refused

SOUND = [
    None,
    True,
    0,
    -3,
    2.5,
    1e-7,
    "a",
    "",
    "2001-01-01",
    "<<",
    "=",
    "ä",
    [],
    {},
    [1, [2]],
    {"a": {"b": [None]}},
]


@pytest.mark.parametrize("value", SOUND, ids=repr)
def test_what_is_written_is_read(value: Any) -> None:
    assert json_of(json.dumps({"x": value})) == {"x": value}
    assert yaml_of(yaml.safe_dump({"x": value})) == {"x": value}


@pytest.mark.parametrize("name", methods.names())
def test_the_settings_of_every_method_are_read_as_pyyaml_reads_them(name: str) -> None:
    text = yaml.safe_dump(methods.settings_of(name).model_dump(mode="json"), sort_keys=False)
    assert yaml_of(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "off",
        "0x1F",
        "0o7",
        "017",
        "1_000",
        "1:30",
        "1.5e+3",
        ".5",
        "-.inf",
        "~",
        "'5'",
        "5e3",
        "!!str 5",
    ],
)
def test_a_word_of_yaml_means_what_it_always_did(text: str) -> None:
    assert yaml_of(text) == yaml.safe_load(text)


NESTED = 50_000
REFUSED_BY_BOTH = {
    "too deep": ("[" * NESTED + "]" * NESTED, "deep"),
    "deep groups": ('{"a":' * 60 + "1" + "}" * 60, "deep"),
    "digits": ("9" * 5000, "a number of 5000 digits"),
    "a name twice": ('{"a": 1, "b": 2, "a": 3}', "the name 'a' twice"),
    "half a letter": (r'{"a": "\ud800"}', "half of a letter"),
    "half a letter in a list": (r'[["\udfff"]]', "half of a letter"),
    "nothing that ends": ('{"a": [1, 2', "is not"),
}  # fmt: skip


@pytest.mark.parametrize("of", [json_of, yaml_of])
@pytest.mark.parametrize("name", REFUSED_BY_BOTH)
def test_what_is_beyond_the_bounds_is_told(name: str, of: Callable[[str], Any]) -> None:
    text, words = REFUSED_BY_BOTH[name]
    begun = time.process_time()
    with pytest.raises(UnreadableError, match=words) as caught:
        of(text)
    assert time.process_time() - begun < 1
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "NaN where a number"),
        ("[-Infinity]", "-Infinity where"),
        ("1e999", "'1e999', which is too large"),
        ("\ufeff{}", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_json_has_numbers_alone(text: str, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        json_of(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", r"the alias \*x \(line 2\): write the value itself"),
        ("a: &a [*a]", "alias"),
        ("a: !!python/object/apply:os.system [ls]", "of the kind 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("!!binary aGk=", "kind"), ("!!set {a}", "kind"), ("a: !mine 3", "kind '!mine'"), ("!!str [a]", "kind"),
        ("!!int x", "is not YAML"), ("!!bool x", "where YAML needs a value of bool"), ("0b_", "is not YAML"), ('"\\UFFFFFFFF"', "is not YAML"),
        ("18446744073709551616", "more than 64 bits"), ("1: 2", "'1' in the place of a name"), ("no: 3", "'False' in the place of a name .line 1.: quote it"),
        ("? [a]\n: b", "in the place of a name"), ("a: 1\n---\nb: 2", "is not YAML"), ("a: b: c", "is not YAML"), ("\0", "is not YAML"), ("@", "is not YAML"),
    ],
)  # fmt: skip
def test_yaml_holds_plain_values_alone(text: str, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        yaml_of(text)


def test_a_bomb_of_aliases_is_not_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(UnreadableError, match="alias"):
        yaml_of("\n".join(lines))


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("#" * MOST_YAML)
    assert read_recipe(path) == {}
    path.write_text("#" * (MOST_YAML + 1))
    with pytest.raises(SettingsError, match=r"recipe\.yaml has more than 262,144 bytes"):
        read_recipe(path)
    with pytest.raises(SettingsError, match="has more than"):
        read_recipe(Path("/dev/zero"))
    with pytest.raises(UnreadableError, match="a name that no file can have"):
        text_of(Path("a\0b"))


@pytest.mark.parametrize(
    "text",
    ["size=" + "9" * 5000, "size=1.0e+999", "size=.nan", "size=" + "[" * 3000, "size=&a [*a]", "size={a: 1, a: 2}", "size=!!python/none x", "size='\\",
     "stage1.optimisation.lr=" + "9" * 39, "size=2001-99-99", "encoder=\0", "size={1: 2}", "a" * 5000 + "=1", "." * 5000 + "=1", "size=" + "A" * 100_000],
    ids=range(15),
)  # fmt: skip
def test_a_hostile_set_is_one_short_line(lmd: Command, tmp_path: Path, text: str) -> None:
    if "\0" not in text:  # No command line can hold one.
        result = lmd("train", tmp_path, "--out", tmp_path / "run", "--set", text)
        refused(result)
        assert len(result[2]) < 2500
    with pytest.raises(SettingsError):
        choose(Asked("lmd", overrides=[text]))


def test_an_override_is_a_plain_value() -> None:
    assert parse_override("a.b={c: [1, 2.5, yes]}") == {"a": {"b": {"c": [1, 2.5, True]}}}
    assert parse_override("a=") == {"a": None}
