"""docs/results.md, five folds, against the kept logits: its tables are recomputed, no number is unsupported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.win import ingredients
from benchmarks.win.choice import score
from benchmarks.win.tables import Rule, finished, measured, points, read
from tests.test_results import PAGE, ROOT, metric, numbers, rows_of

WIN = ROOT / "benchmarks" / "results" / "win"
NAMES = {"logit-adjustment": "la"}
HALF = PAGE.read_text().partition("## Sixty epochs at 128 pixels")[0]
# What is set or counted, and no result; and what stands in another file.
SETTINGS = {".01", ".03"}
ELSEWHERE = {".655": WIN / "README.md", ".654": WIN / "README.md"}


@cache
def stated(domain: str, name: str) -> Any:
    return json.loads((WIN / domain / f"{name}.json").read_text())


def by_row(domain: str, name: str) -> dict[str, Any]:
    return {one["row"]: one for one in stated(domain, name)}


def estimate(found: Mapping[str, float]) -> str:
    return f"{metric(found['value'])} [{metric(found['low'])}, {metric(found['high'])}]"


def probability(p: float) -> str:
    return "< .001" if p < 0.001 else metric(p)


def row_of(domain: str, name: str) -> list[str]:
    """The cells of a row of the page, without how it was chosen."""
    own, mirrored = (by_row(domain, file)[name] for file in ("table", "table-flips"))
    values = own["metrics"]
    cells = [estimate(values["bacc"]), *(metric(values[key]["value"]) for key in ("tail", "auc", "f1"))]
    flips = metric(mirrored["metrics"]["bacc"]["value"])
    if name == "lmd-plus":
        return [*cells, "", "", flips]
    gap = points(own["difference"]["bacc"])
    return [*cells, gap, probability(own["p_holm"]), f"{flips}: {points(mirrored['difference']['bacc'])}"]


@pytest.mark.parametrize(
    ("domain", "header"), [("isic", "| row | chosen |"), ("rbc", "| row | balanced accuracy |")]
)
def test_the_table_is_that_of_its_file(domain: str, header: str) -> None:
    found = rows_of(PAGE, header)
    names = [NAMES.get(name, name) for name in (cells[0].partition(",")[0] for cells in found)]
    assert names == [one["row"] for one in stated(domain, "table")]
    for name, cells in zip(names, found, strict=True):
        assert cells[-len(row_of(domain, name)) :] == row_of(domain, name), name


def test_the_file_follows_from_the_logits() -> None:
    kept = read(WIN / "isic")
    files = finished(WIN / "isic", kept)
    for row, kind, file in (("lmd-plus", "", "table"), ("cc-sam+decay", " flips", "table-flips")):
        made = measured(kept, files[row][42], Rule(kind))
        stored = by_row("isic", file)[row.partition("+")[0]]["metrics"]
        assert {name: round(made[name].value, 4) for name in stored} == {
            name: one["value"] for name, one in stored.items()
        }


def test_each_part_is_that_of_its_file() -> None:
    parts = stated("isic", "ingredients")
    assert [one["part"] for one in parts] == [pair.part for pair in ingredients.PAIRS]
    found = [cells[1:] for cells in rows_of(PAGE, "| part |")]
    for cells, one in zip(found, parts, strict=True):
        rest = [f"{100 * one[name]['value']:+.1f}" for name in ("tail", "auc")]
        assert cells == [
            str(one["folds"]),
            points(one["bacc"]),
            rest[0],
            "0" if "tau" in one["part"] else rest[1],
        ]
    assert [one["part"] for one in parts if one["p_holm"] < 0.05] == [
        "tau in LMD",
        "tau in CE",
        "mirror images in CE",
    ]


def test_each_e_step_is_that_of_its_file() -> None:
    found = [cells[1:] for cells in rows_of(PAGE, "| E-step |")]
    values = stated("isic-32", "estep")
    kinds = ("paper", "prior", "shift", "strong", "consistency", "hard", "affine")
    for cells, kind in zip(found, kinds, strict=True):
        made = [values[f"{kind} {rate}"] for rate in ("1e-05", "0.0001")]
        assert cells == [one if one == "diverged" else points(one["bacc"]["less J=0"]) for one in made]


def test_short_trainings_are_those_of_their_files() -> None:
    own, mirrored = (by_row("isic", name) for name in ("table-lengths", "table-lengths-flips"))
    found = rows_of(PAGE, "| row | epochs |")
    for cells, name in zip(found, ("lmd-plus", "ce+decay@10", "ce+decay"), strict=True):
        values = own[name]["metrics"]
        assert cells[2:5] == [
            estimate(values["bacc"]),
            *(metric(values[key]["value"]) for key in ("tail", "auc")),
        ]
        if name != "lmd-plus":
            assert cells[5:] == [points(one[name]["difference"]["bacc"]) for one in (own, mirrored)]


# The sentences.


def leaves(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from leaves(one)
    elif isinstance(value, float):
        yield value


def derived() -> Iterator[float]:
    """What sentences say that no file has: folds one by one, the criterion of two rows, CE against itself."""
    whole = read(WIN / "isic")
    files = finished(WIN / "isic", whole)
    for fold in whole.folds:
        kept = read(WIN / "isic", [fold])
        values = {
            row: measured(kept, files[row][42])["bacc"].value for row in ("lmd-plus", "cc-sam+decay", "lmd")
        }
        yield from (values["lmd-plus"] - value for value in values.values())
    three = read(WIN / "isic", whole.folds[:3])
    for row in ("ce+decay", "ce+decay@10"):
        yield score(three, dict(files[row][42]), three.folds, "")
    yield from leaves(stated("isic", "table-short"))


def test_every_number_in_a_sentence_is_supported() -> None:
    files = [
        *(stated("isic", name) for name in ("table", "table-flips", "table-wide", "ingredients")),
        *(stated("isic", name) for name in ("table-lengths", "table-lengths-flips", "table-lengths-3")),
        *(stated("rbc", name) for name in ("table", "table-flips", "table-ce")),
        stated("isic-32", "estep"),
    ]
    known = np.array([*leaves(files), *derived()])
    written = {metric(value) for value in known if value >= 0}
    written |= {f"{100 * sign * value:.1f}" for value in known for sign in (1, -1)}
    for number, file in ELSEWHERE.items():
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", file.read_text()), number
    assert numbers(HALF) - written - SETTINGS - set(ELSEWHERE) == set()


def test_the_sentences_that_matter_say_what_the_files_have() -> None:
    text = " ".join(HALF.split())
    own, mirrored = stated("isic", "table"), stated("isic", "table-flips")
    others, level = ([one for one in file if one["row"] != "lmd-plus"] for file in (own, mirrored))
    assert own[0]["row"] == "lmd-plus"
    assert sum(one["difference"]["bacc"]["low"] > 0 for one in others) == 7
    assert [one["row"] for one in others if one["p_holm"] >= 0.05] == ["cc-sam", "gcl", "lmd"]
    assert sum(one["p_holm"] < 0.05 for one in level) == 4
    assert "ahead of six of the nine others. CC-SAM, GCL and LMD cannot be told apart from it" in text
    assert "Seven intervals of nine are clear of zero,** six after Holm's correction" in text
    assert all(one["p_holm"] >= 0.05 for one in stated("rbc", "table") if one["row"] != "lmd-plus")
    short = by_row("isic", "table-short")["ce+decay"]["difference"]["bacc"]
    told = "{:.1f} points [{:.1f}, {:.1f}]".format(*(100 * short[name] for name in ("value", "low", "high")))
    assert f"Twenty epochs more cost cross entropy {told}" in text
    three = by_row("isic", "table-lengths-3")["ce+decay@10"]["difference"]["bacc"]
    low, high = (f"{100 * three[name]:+.1f}" for name in ("low", "high"))
    assert f"{-100 * three['value']:.1f} less [{low}, {high}] than cross entropy of 10" in text
