"""`lmd reproduce`: every table and figure on phantoms, and what their pages say."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmd.experiments import EXPERIMENTS
from lmd.experiments.collect import collect
from lmd.experiments.engine import Outcome, plan, reproduce
from lmd.experiments.paper import load
from lmd.experiments.request import check
from lmd.experiments.runs import all_runs
from lmd.reporting.experiment import write_experiment
from lmd.reporting.experiment_figures import figures
from lmd.settings import Tree
from lmd.text import markdown
from tests.experiments import by_hand
from tests.experiments.phantoms import COMMON, as_the_papers, draw_phantoms, request_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom data sets, and room for the experiments."""
    return draw_phantoms(tmp_path_factory.mktemp("reproduce"))


class Outcomes(dict[str, Outcome]):
    """The experiments by name, each run once for all tests, when it is first needed."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, name: str) -> Outcome:
        self[name] = reproduce(request_of(self.root, name))
        return self[name]


@pytest.fixture(scope="module")
def outcomes(root: Path) -> dict[str, Outcome]:
    """Every experiment, run once for all tests."""
    return Outcomes(root)


def cells(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (path / "table.csv").open() as file:
        return {(row["block"], row["row"], row["metric"]): row for row in csv.DictReader(file)}


class Theirs(dict[str, Path]):
    """The same runs, written again as if the phantoms were the paper's data."""

    def __init__(self, root: Path, outcomes: dict[str, Outcome]) -> None:
        super().__init__()
        self.root, self.outcomes = root, outcomes

    def __missing__(self, name: str) -> Path:
        assert self.outcomes[name]
        with as_the_papers(self.root):
            job = check(request_of(self.root, name))
            self[name] = write_experiment(self.root / "theirs" / name, collect(job, all_runs(job), {}))
        return self[name]


@pytest.fixture(scope="module")
def theirs(root: Path, outcomes: dict[str, Outcome]) -> dict[str, Path]:
    return Theirs(root, outcomes)


@pytest.mark.parametrize(
    "name",
    # The largest take as long as all others.
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("table1", "table2") else name
        for name in EXPERIMENTS
    ],
)
def test_on_the_papers_data_every_cell_is_there_with_the_papers_value(
    name: str, theirs: dict[str, Path], outcomes: dict[str, Outcome]
) -> None:
    experiment, folder = EXPERIMENTS[name], theirs[name].parent
    found = cells(folder)
    tree = json.loads((folder / "table.json").read_text())
    lines = (folder / "table.md").read_text().splitlines()
    assert lines[0] == f"# {experiment.title}"
    for block in experiment.blocks:
        rows = {row["key"]: row for b in tree["blocks"] if b["key"] == block.key for row in b["rows"]}
        for row in experiment.rows_of("smoke"):
            for metric in experiment.metrics:
                printed = "kappa" if metric.key == "kappa_quadratic" else metric.key
                place = (row.printed, block.key if len(experiment.blocks) > 1 else "", printed)
                known = load(name).cells.get(place)
                line = found.pop((block.key, row.key, metric.key))
                paper = rows[row.key]["cells"][metric.key]["paper"]
                assert line["paper_source"]
                if known is None:
                    assert paper["value"] is None
                    assert paper["reason"]
                    assert line["paper"] == line["paper_sd"] == ""
                    continue
                assert (paper["value"], paper["sd"]) == (known.value, known.sd)
                assert line["paper"] == str(known.value)
                assert line["paper_sd"] == ("" if known.sd is None else str(known.sd))
                assert any(text.startswith(f"| {row.title} |") and f"| {known} |" in text for text in lines)
    assert not found
    assert not outcomes[name].failures


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_on_other_data_the_page_is_named_by_them_and_shows_no_number_of_the_paper(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    folder, paper = outcomes[name].table.parent, load(name)
    text = (folder / "table.md").read_text()
    title = text.splitlines()[0]
    assert title.endswith(f", in the form of the paper's {paper.label.lower()}")
    assert "phantom" in title.casefold()
    assert paper.data not in title or not paper.data
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0].casefold().startswith("## phantom")
    assert ", paper |" not in text
    assert not [str(known) for known in paper.cells.values() if f"| {known} |" in text]
    assert {line["paper"] for line in cells(folder).values()} == {""}
    tree = json.loads((folder / "table.json").read_text())
    values = [
        cell["paper"]["value"]
        for block in tree["blocks"]
        for row in block["rows"]
        for cell in row["cells"].values()
    ]
    assert set(values) == {None}


@pytest.mark.parametrize("name", ["table1", "table4"])
def test_the_papers_values_are_drawn_on_its_own_data_alone(
    name: str, outcomes: dict[str, Outcome], theirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    drawn: list[str] = []
    plot = Axes.plot

    def watched(self: Axes, *places: Any, **words: Any) -> Any:
        if words.get("marker") == "x":
            drawn.append(str(words.get("label", "")))
        return plot(self, *places, **words)

    monkeypatch.setattr(Axes, "plot", watched)
    figures(json.loads((outcomes[name].table.parent / "table.json").read_text()))
    assert drawn == []
    figures(json.loads((theirs[name].parent / "table.json").read_text()))
    assert "paper, with its own schedule" in drawn


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_chosen_cell_is_measured_with_interval_n_and_seconds(
    name: str, outcomes: dict[str, Outcome], root: Path
) -> None:
    job = check(request_of(root, name))
    found = cells(outcomes[name].table.parent)
    for block in job.data:
        for row in job.chosen:
            for metric in job.experiment.metrics:
                line = found[block, row.key, metric.key]
                assert -100 <= float(line["ours"]) <= 100
                assert bool(line["low"]) == bool(line["high"])  # None where too few images are behind it.
                if line["low"]:
                    assert float(line["low"]) < float(line["high"])
                assert line["status"] == "run"
                assert int(line["n"]) == 32
                assert int(line["seeds"]) == len(job.seeds)
                assert float(line["seconds"]) > 0
                assert bool(line["difference"]) != row.reference


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_pictures_are_drawn_and_named_in_the_page(name: str, outcomes: dict[str, Outcome]) -> None:
    folder = outcomes[name].table.parent
    pictures = {path.name for path in folder.glob("*.svg")}
    text = outcomes[name].table.read_text()
    assert pictures
    assert all(f"({picture})" in text for picture in pictures)
    assert ("projection.svg" in pictures) == (name in ("fig4", "fig5"))
    assert all((folder / picture).read_text().startswith("<svg") for picture in pictures)


def test_ours_is_what_the_run_was_evaluated_to(outcomes: dict[str, Outcome], root: Path) -> None:
    evaluation = json.loads((root / "table1/runs/data/lmd/seed-42/evaluation-test.json").read_text())
    line = cells(root / "table1")["data", "lmd", "auc"]
    assert float(line["ours"]) == pytest.approx(100 * evaluation["metrics"]["auc"]["value"], abs=1e-5)
    found = cells(root / "table2")
    for group in ("head", "tail"):
        values = []
        for seed in (42, 43):
            path = root / f"table2/runs/data/ce/seed-{seed}/evaluation-test.json"
            values.append(100 * json.loads(path.read_text())["groups"][group]["recall"]["value"])
        assert float(found["data", "ce", group]["ours"]) == pytest.approx(sum(values) / 2, abs=1e-5)


def test_a_difference_is_the_reference_minus_the_row(outcomes: dict[str, Outcome], root: Path) -> None:
    found = cells(root / "table2")
    lmd, ce = found["data", "lmd", "tail"], found["data", "ce", "tail"]
    assert float(ce["difference"]) == pytest.approx(float(lmd["ours"]) - float(ce["ours"]), abs=1e-4)


def test_columns_without_data_are_not_run_and_the_page_says_so(outcomes: dict[str, Outcome]) -> None:
    text = outcomes["table3"].table.read_text()
    assert "r = 300: no data set was named" in text
    assert "(in the place of r = 100)" in text
    assert "## r = 300" not in text
    found = cells(outcomes["table3"].table.parent)
    assert found["300", "ce", "auc"]["status"] == "not run"
    assert found["300", "ce", "auc"]["ours"] == ""
    assert found["500", "lmd", "auc"]["ours"]


def test_the_page_answers_the_questions(outcomes: dict[str, Outcome]) -> None:
    text = outcomes["table1"].table.read_text()
    for question in ("(rrl - ce): ", "(lmd - lmd-no-icc): ", "(lmd - rrl-logit-adjustment): "):
        (line,) = [line for line in text.splitlines() if question in line]
        assert "recall " in line
        assert "not run" not in line
    assert "not judged: one seed" in text
    assert "it is not said whether lmd is ahead of a row" in text
    more = outcomes["table2"].table.read_text()  # Two seeds; the smallest band has 8 test images.
    assert "it is not said whether lmd is ahead of a row (not judged: 8 * test images)" in more
    assert re.search(r"behind BACC head \(8 \\\*\), .*\(\\\* fewer than 10 images: ", more)
    for word in ("is ahead of:", "is behind", "beats", "beaten", "higher", "lower", "clearly above"):
        assert word not in text + more


def test_what_must_be_known_stands_at_the_top(outcomes: dict[str, Outcome]) -> None:
    """Of the page, of the JSON, in every line of the CSV and before the first run that is told."""
    for name, seeds in (("table1", 1), ("table2", 2)):
        content, folder = outcomes[name].content, outcomes[name].table.parent
        caveats = content["caveats"]
        assert any("Phantoms are drawn images" in line for line in caveats)
        assert any("Budget 'smoke': this is not the paper's schedule." in line for line in caveats)
        assert any("images of 16 pixels, not the paper's 224" in line for line in caveats)
        assert any("fewer than 100 test images" in line for line in caveats)
        assert any(line.startswith("One seed") for line in caveats) == (seeds == 1)
        lines = (folder / "table.md").read_text().splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("| row |"))
        assert [f"- {markdown(line)}" for line in caveats] == lines[4 : 4 + len(caveats)]
        assert 4 + len(caveats) < first
        assert list(content)[:5].count("caveats") == 1
        assert {line["caveats"] for line in cells(folder).values()} == {" ".join(caveats)}


@pytest.mark.parametrize("name", ["table1", "table2", "table4", "table5", "fig3", "fig7"])
def test_the_page_names_the_rows_that_cannot_differ(
    name: str, outcomes: dict[str, Outcome], root: Path
) -> None:
    text, runs = outcomes[name].table.read_text(), root / name / "runs/data"
    assert by_hand.named("cannot differ: in every run", text) == by_hand.same_answers(runs)
    assert by_hand.named("can differ in the classifier alone", text) == by_hand.same_encoders(runs)
    if name == "table4":  # An E-step at a rate of 1e-30.
        rows = {row.key for row in EXPERIMENTS[name].rows_of("smoke")}
        assert by_hand.same_answers(runs) == by_hand.same_encoders(runs) == {frozenset(rows)}


def history(root: Path, run: str) -> list[Tree]:
    return [json.loads(line) for line in (root / run / "metrics.jsonl").read_text().splitlines()]


def test_a_first_stage_is_trained_once_and_counted_for_all(outcomes: dict[str, Outcome], root: Path) -> None:
    for name, source, row in (("table2", "ce", "decoupling"), ("table4", "1e-06", "0.01")):
        first, second = (history(root / name / "runs", f"data/{key}/seed-42") for key in (source, row))
        assert {record["stage"] for record in second} == {"stage2"}
        stage1 = sum(record["seconds"] for record in first if record["stage"] == "stage1")
        own = sum(record["seconds"] for record in second)
        (told,) = [
            entry for b in outcomes[name].content["blocks"] for entry in b["rows"] if entry["key"] == row
        ]
        assert told["stage1_from"] == [source]
        if name == "table4":  # One seed: the seconds of the row are those of the run.
            assert told["seconds"] == pytest.approx(stage1 + own, abs=2e-3)
    text = outcomes["table4"].table.read_text()
    assert "From 1e-06: 1e-05, 0.0001, 0.001, 0.01 (stage 1 was trained once" in text
    lambdas = history(root / "fig7" / "runs", "data/10/seed-42")
    assert lambdas[0]["stage"] == "stage1"  # Another weight of the consistency is another first stage.


DIVERGING = """
'''A method whose training diverges.'''
from lmd.errors import SettingsError
from lmd.methods.ce import PAPER, STATUS, CrossEntropy, Settings
BUDGETS = {}
class Diverging(CrossEntropy):
    def run_epoch(self, epoch):
        raise SettingsError("the loss term 'x' became nan")
def stages(settings, counts):
    return [Diverging(settings, settings.stage1)]
"""


def test_a_method_of_ones_own_is_a_row_and_a_failure_is_reported_while_others_go_on(
    root: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mine.py"
    own.write_text(DIVERGING)
    request = request_of(root, "table3", tmp_path / "out", methods=f"{own},ce", data=("100=first",))
    outcome = reproduce(replace(request, overrides=(*COMMON,), allow_code=True))
    assert list(outcome.failures) == ["100/mine/seed-42"]
    found = cells(request.out)
    assert found["100", "mine", "bacc"]["status"] == "failed: the loss term 'x' became nan"
    assert found["100", "mine", "bacc"]["paper_source"].startswith("not in the paper")
    assert found["100", "ce", "bacc"]["status"] == "run"
    assert "failed: the loss term" in outcome.table.read_text()


def test_a_dry_run_lists_the_runs_and_writes_nothing(root: Path, tmp_path: Path) -> None:
    lines = plan(request_of(root, "table2", tmp_path / "out", methods="ce,decoupling", seeds=1))
    assert lines[0].startswith("caveat: ")
    runs = lines[: lines.index("")]  # What they will take comes after.
    assert [line for line in runs if not line.startswith("caveat: ")] == [
        "data/ce/seed-42: missing",
        "data/decoupling/seed-42: missing; stage 1 from data/ce/seed-42",
        "2 runs, 2 of them to do",
    ]
    assert not (tmp_path / "out").exists()
