"""A comparison as text, tables, page and figure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lmd.comparing.compare import compare_runs
from lmd.evaluation.pairs.comparison import Comparison
from lmd.reporting.ranking import ranking_figure
from lmd.reporting.versus import comparison_text, write_versus
from tests.command import Command, refused
from tests.comparing import made
from tests.reporting.look import Visit


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("runs")
    rows = [("ce", 2.0), ("focal", 2.1), ("lmd", 4.0)]
    return [made.run(place / f"{name}-{seed}", name, seed, s) for name, s in rows for seed in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def found(paths: list[Path]) -> Comparison:
    return compare_runs(paths)


def test_the_text_has_the_ranking_the_pairs_and_how_to_read_them(found: Comparison) -> None:
    text = comparison_text(found)
    best = next(line for line in text if line.startswith("a "))
    assert "lmd" in best
    assert str(found.methods["lmd"].metrics["bacc"]) in best
    assert any("lmd is better" in line for line in text)
    assert any(re.search(r"focal.*not told apart", line) for line in text)
    assert any("3 pairs were looked at" in line for line in text)


def test_files_hold_the_same_numbers(found: Comparison, tmp_path: Path) -> None:
    page = write_versus(tmp_path, found)
    assert Comparison.model_validate(json.loads((tmp_path / "compare.json").read_text())) == found
    rows = pd.read_csv(tmp_path / "compare.csv").set_index("method")
    assert rows.loc["lmd", "bacc"] == found.methods["lmd"].metrics["bacc"].value
    assert rows.loc["lmd", "bacc_low"] == found.methods["lmd"].metrics["bacc"].low
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    assert pairs["p_holm"].tolist() == pytest.approx([pair.p_holm for pair in found.ranking.pairs])
    text = page.read_text()
    assert all(str(row.value) in text for row in found.ranking.rows)
    assert "http://" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_the_figure_has_a_bar_for_each_group(found: Comparison) -> None:
    assert found.ranking.groups == [["focal", "ce"]] or found.ranking.groups == [["ce", "focal"]]
    figure = ranking_figure(found)
    assert figure == ranking_figure(found)
    assert all(f">{row.name} ({row.groups})<" in figure for row in found.ranking.rows)
    apart = found.model_copy(update={"ranking": found.ranking.model_copy(update={"groups": []})})
    assert len(ranking_figure(apart)) < len(figure)


def test_the_command_compares(lmd: Command, paths: list[Path], tmp_path: Path) -> None:
    code, out, _ = lmd("compare", *paths, "--out", tmp_path / "out")
    assert code == 0
    assert "balanced accuracy, split test of toy: 120 images" in out
    assert (tmp_path / "out" / "compare.html").is_file()


def test_the_command_refuses(lmd: Command, paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(lmd("compare"), "compare needs RUN")
    refused(lmd("compare", paths[0]), "nothing to compare", str(paths[0]))
    refused(lmd("compare", paths[0], paths[0]), "is named twice")
    refused(lmd("compare", *paths, "--tau", "1"), "unknown tau '1'")
    refused(lmd("compare", *paths, "--metric", "accuracy"), "unknown metric 'accuracy'")
    refused(lmd("compare", *paths, "--split", "tset"), "unknown split 'tset'")
    refused(lmd("compare", *paths, "--out", tmp_path / "file"), "is a file")
    refused(lmd("compare", *paths, "--data", tmp_path / "none"), "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_is_quiet_and_accessible(
    browser: Any, found: Comparison, tmp_path: Path, width: int, scheme: str
) -> None:
    page = write_versus(tmp_path, found)
    with Visit(browser, page, width, scheme) as visit:
        assert visit.page.locator("h1").count() == 1
        assert visit.page.locator("svg").count() == 1
        visit.is_quiet_and_accessible()
        if scheme == "dark":
            assert (
                visit.page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
            )
