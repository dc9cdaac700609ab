"""The demonstration: three methods, their table, and paired differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd import demonstration
from lmd.data.dataset.manifest import read_dataset
from lmd.demonstration import ENTRIES, run_demo
from lmd.evaluation.cases import measure, read_cases
from lmd.run import RunFolder
from lmd.settings import merge

TINY = {"encoder": "test_resnet", "size": 16, "batch": 16, "stage1": {"epochs": 1}}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The demonstration on few images with a tiny encoder."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return out, run_demo(out, seed=3)[1]


def shorten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(demonstration, "IMAGES", 24)
    virtual = {"iterations": 1, "m_step": {"virtual_per_class": 50}}
    more = {"CE": TINY, "CE + LA": TINY, "LMD": merge(TINY, virtual)}
    short = [entry._replace(settings=merge(entry.settings, more[entry.name])) for entry in ENTRIES]
    patch.setattr(demonstration, "ENTRIES", tuple(short))


def test_it_shows_the_methods_and_their_differences(demo: tuple[Path, list[str]]) -> None:
    out, lines = demo
    assert lines[0].split("  ")[-1].strip() == "LMD"
    (header,) = [line for line in lines if line.lstrip().startswith("CE + LA - CE")]
    assert header.split("  ")[-1].strip() == "LMD - CE + LA"
    page = (out / "report.html").read_text()
    assert "LMD - CE" in page
    assert "paired over the same test images" in page
    assert "say nothing about patients" in page
    (about,) = [line for line in lines if line.startswith("Paired differences on the same ")]
    assert lines.index(about) == lines.index(header) - 1
    data = read_dataset(out / "data")
    counts = dict(zip(data.classes, data.counts("test"), strict=True))
    told = [f"{band} {sum(counts[name] for name in names)}" for band, names in data.info.bands.items()]
    assert f"same {len(data.split('test'))} test images ({', '.join(told)}), of one seed" in about
    assert "Phantoms are no patients" in about
    assert "<h2>Paired differences</h2>" in page
    assert page.index(about) < page.index("<th>difference</th>")


def test_a_difference_is_that_of_the_two_runs(demo: tuple[Path, list[str]]) -> None:
    out, lines = demo
    data = read_dataset(out / "data")
    found = [
        measure(read_cases(RunFolder(out / name).predictions("test"), data), data.classes, data.info.bands)
        for name in ("lmd", "ce")
    ]
    about = next(number for number, line in enumerate(lines) if line.startswith("Paired differences"))
    (row,) = [line for line in lines[about:] if line.startswith("tail recall")]
    shown = row.split("]")[1].split("[")[0]  # The second of the differences: LMD - CE.
    assert float(shown) == pytest.approx(found[0]["tail"].value - found[1]["tail"].value, abs=6e-4)


def test_logit_adjustment_takes_over_the_first_stage_of_ce(demo: tuple[Path, list[str]]) -> None:
    out, _ = demo
    stages = [RunFolder(out / name).stage1.read_bytes() for name in ("ce", "ce-la")]
    assert stages[0] == stages[1]


def test_a_second_call_trains_nothing(demo: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    out, lines = demo
    shorten(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(before) == 3
    assert run_demo(out, seed=3)[1] == lines
    assert before == {path: path.stat().st_mtime_ns for path in before}
