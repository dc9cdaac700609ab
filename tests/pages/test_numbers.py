"""The intervals that pages give as examples are those that lmd computes."""

from __future__ import annotations

import re

import pytest

from lmd.evaluation import measure
from tests.test_words import ROOT

SMALL = (ROOT / "docs" / "small-classes.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| (\[.*?\]) \|$", SMALL, re.MULTILINE)


@pytest.mark.parametrize(
    ("images", "hits", "value", "interval"), [*ROWS, ("9", "6", "0.667", "[0.354, 0.879]")]
)
def test_the_interval_of_so_many_hits(images: str, hits: str, value: str, interval: str) -> None:
    n, right = int(images), int(hits)
    of_the_class = [[0.9, 0.1]] * right + [[0.1, 0.9]] * (n - right)
    found = measure([0] * n + [1] * 60, of_the_class + [[0.1, 0.9]] * 60).classes[0].recall
    assert str(found) == f"{value} {interval}"


def test_the_examples_are_on_the_pages() -> None:
    assert len(ROWS) == 4
    assert '"0.667 [0.354, 0.879]" for six of nine' in (ROOT / "docs" / "understanding.md").read_text()
