"""Class names, files and titles that look like formulas, markup or control characters: they do nothing anywhere."""

from __future__ import annotations

import html.parser
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

import lmd as api
from lmd import terminal
from lmd.data.dataset.manifest import read_dataset
from lmd.evaluation.cases import read_predictions
from lmd.spreadsheet import guarded, guarded_table, unguarded, unguarded_table
from lmd.text import markdown, visible
from tests import toy
from tests.command import Command, refused

NAMES = ["=HYPERLINK(1)", "<script>alert(1)</script>", "a `c` [d](e) $x$ $y", "[red]ü[/red] -1"]
FORMULA = re.compile("[=+\\-@\t\r\n]")
SETTINGS = {**toy.COMMON, "stage1": {"epochs": 1}}


@pytest.mark.parametrize(
    "text",
    ["=1", "+1-2", "-x", "@a", "\tx", "\rx", "\nx", "'=1", "''@a", "'a", "", "\uff1d1", "+49 170", "-1e"],
)
def test_a_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = guarded(text)
    assert not FORMULA.match(cell)
    assert unguarded(cell) == text


@pytest.mark.parametrize(
    "value", [-0.5, 3, None, "-0.5", "+1", "-1e-05", "-.5", "melanoma", "'n Beetje", "3=4"]
)
def test_numbers_and_plain_names_stay(value: object) -> None:
    assert guarded(value) == value
    assert unguarded(value) == value


def test_a_table_comes_back_with_its_columns() -> None:
    table = pd.DataFrame({"id": ["=a", "'=a", "a"], "@more": ["-1", "-x", ""]})
    text = guarded_table(table).to_csv(index=False)
    assert text.splitlines()[1:] == ["'=a,-1", "''=a,'-x", "a,"]
    again = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(unguarded_table(again), table)


def test_names_in_markdown_are_text() -> None:
    assert markdown("*a* _b_ `c` # ![x](y)") == r"\*a\* \_b\_ \`c\` # !\[x\](y)"
    assert markdown("# tf_efficientnet_lite0") == r"\# tf_efficientnet_lite0"
    assert markdown("a&lt;b <img>") == "a&amp;lt;b &lt;img&gt;"
    assert markdown("a | b\n| c") == r"a \| b \| c"
    assert markdown("\\| x") == r"\\\| x"


def test_a_terminal_obeys_no_name() -> None:
    assert visible("a\x1b]0;x\x07b\x9b1m\u202ec\r") == r"a\x1b]0;x\x07b\x9b1m\u202ec\r"
    assert visible("two\nlines\tü") == "two\nlines\tü"


def test_an_error_about_a_file_is_visible(lmd: Command, tmp_path: Path) -> None:
    result = lmd("train", tmp_path / "a\x1b[31mb", "--out", tmp_path / "run")
    refused(result, r"a\x1b[31mb")
    assert "\x1b" not in result[2]


def test_bars_take_no_name_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system=None, width=100)
    monkeypatch.setattr(terminal, "Console", lambda **options: console)
    with terminal.Watching().training("[red]x[/red] [/bold]") as progress:
        progress.started("stage1", 0, 1)
        record = {"stage": "stage1", "epoch": 0, "losses": {"[b]": 1.0}, "validation": {}, "seconds": 1.0}
        progress.finished(record)
    assert "[red]x[/red] [/bold] stage1 1/1 | [b] 1" in shown.getvalue()


class Tags(html.parser.HTMLParser):
    """Collects the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def test_from_images_to_reports_with_hostile_classes(lmd: Command, tmp_path: Path) -> None:
    """Prepare, train, evaluate and predict; then every file that a person may open."""
    rows = []
    (tmp_path / "images").mkdir()
    for label, name in enumerate(NAMES):
        for number in range(8):
            file = f"{'=-@'[number % 3]}{label}x{number}.png"
            Image.fromarray(toy.draw(label, 10 * label + number)).save(tmp_path / "images" / file)
            rows.append({"image": file, "diagnosis": name, "patient": f"@{label}p{number}"})
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    data, run = tmp_path / "data", tmp_path / "run"
    words = ("--image-column", "image", "--label-column", "diagnosis", "--group-column", "patient")
    code, _, err = lmd(
        "prepare",
        "table",
        "--table",
        tmp_path / "cases.csv",
        "--root",
        tmp_path / "images",
        "--out",
        data,
        *words,
    )
    assert code == 0, err
    dataset = read_dataset(data)
    assert sorted(dataset.classes) == sorted(NAMES)
    assert set(dataset.table["group"]) == {row["patient"] for row in rows}
    api.train(dataset, method="ce", settings=SETTINGS, out=run)
    result = api.evaluate(run)
    again = read_predictions(run / "predictions-test.csv")
    assert sorted(again["id"]) == sorted(dataset.split("test")["id"])
    assert set(again["label"]) <= set(NAMES)
    assert api.evaluate(run) == result
    answers = tmp_path / "answers.csv"
    code, _, err = lmd("predict", run, tmp_path / "images", "--out", answers)
    assert code == 0, err
    for file in (data / "manifest.csv", run / "predictions-test.csv", answers):
        cells = pd.read_csv(file, dtype=str, keep_default_na=False, header=None).stack()
        assert not [cell for cell in cells if FORMULA.match(cell)], file
    tags = Tags()
    page = (run / "report.html").read_text()
    tags.feed(page)
    assert tags.found.count("script") == 1  # The page's own.
    assert "$x$ $y" in page  # In the figures, too: no mathematics.
    card = (run / "MODEL_CARD.md").read_text()
    assert "<script>" not in card
    assert r"a \`c\` \[d\](e) \$x\$ \$y" in card
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {4}
