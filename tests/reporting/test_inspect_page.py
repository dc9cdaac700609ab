"""`lmd inspect`: the picture page, the JSON, and the exit code."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lmd import cli
from lmd.data.audit.fingerprint import fingerprint
from lmd.data.dataset.manifest import Dataset, write_dataset
from lmd.reporting.figures import drawing
from lmd.reporting.inspect_page import long_tail, write_inspection
from lmd.reporting.thumbnails import thumbnail
from tests import toy

Inspect = Callable[..., tuple[int, str, str]]
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """The toy data with a near duplicate across splits, a copy, a broken image, and a class with a bad name."""
    made = toy.make_dataset(tmp_path)
    paths = made.paths()
    with Image.open(paths[3]) as image:
        image.resize((40, 40), Image.Resampling.BICUBIC).save(paths[86])
    shutil.copy(paths[5], paths[6])
    paths[50].write_bytes(b"no image")
    table = made.table.replace({"label": {"rare": EVIL}})
    table["group"] = [f"Patient {EVIL} {row // 2}" for row in range(len(table))]
    info = made.info.model_copy(
        update={
            "classes": ["common", "less $x$", EVIL],
            "bands": {"head": ["common"], "medium": ["less $x$"], "tail": [EVIL]},
            "recipe": {"split": "image"},
        }
    )
    return write_dataset(tmp_path / "evil", table.replace({"label": {"less": "less $x$"}}), info)


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inspect:
    """Runs `lmd inspect` in this process and returns (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lmd", "inspect", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, *capfd.readouterr()

    return run


def page_of(dataset: Dataset, tmp_path: Path, seed: int = 42) -> str:
    return write_inspection(tmp_path / "page.html", dataset, fingerprint(dataset), seed).read_text()


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def test_the_page_stands_alone_and_shows_everything(dataset: Dataset, tmp_path: Path) -> None:
    page = page_of(dataset, tmp_path)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert page.count("<svg") == 1
    assert len(pictures(page)) == 3 * 8 + 2
    assert "image003 and image086: train and test" in page
    assert "image005, image006" in page
    assert "image050.png" in page
    assert "broken: 1 image" in page
    assert "Nothing is wrong" not in page
    assert "format PNG" in page


@pytest.mark.parametrize(("scale", "numbers"), [("log", ["1", "10", "1,000"]), ("symlog", ["0", "1", "10"])])
def test_the_numbers_of_a_logarithmic_axis_are_plain(scale: str, numbers: list[str]) -> None:
    """In a range of one decade, too, where the marks between have numbers."""
    with drawing(4, 3) as picture:
        picture.axes.set(yscale=scale, ylim=(0 if scale == "symlog" else 1, 2000))
        picture.axes.set(xscale="log", xlim=(20, 60))
    assert "mathdefault" not in picture.svg
    said = re.findall(r">([\d,]+)</text>", picture.svg)
    assert set(numbers) <= set(said)
    assert {"30", "40"} <= set(said)


def test_a_class_keeps_its_dollar(dataset: Dataset) -> None:
    found = fingerprint(dataset)
    drawn = long_tail(found.model_copy(update={"classes": ["a$b$", *found.classes[1:]]}))
    assert ">a$b$</text>" in drawn


def test_names_are_escaped_and_those_of_groups_are_not_there(dataset: Dataset, tmp_path: Path) -> None:
    page = page_of(dataset, tmp_path)
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page
    assert "Patient" not in page
    assert "Patient" not in fingerprint(dataset).model_dump_json()


def test_the_contact_sheet_is_a_function_of_the_seed(dataset: Dataset, tmp_path: Path) -> None:
    assert page_of(dataset, tmp_path) == page_of(dataset, tmp_path)
    assert page_of(dataset, tmp_path) != page_of(dataset, tmp_path, seed=1)


def test_the_pictures_are_small_and_without_tags(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Ann Smith"
    Image.fromarray(toy.draw(0, 0, 300)).save(tmp_path / "a.jpg", exif=exif, comment=b"Ann Smith")
    text = thumbnail(tmp_path / "a.jpg", 110)
    (picture,) = pictures(f'<img src="{text}">')
    assert picture.size == (110, 110)
    assert b"Ann" not in base64.b64decode(text.partition(",")[2])
    assert thumbnail(tmp_path / "none.jpg", 110) == ""


def test_a_list_without_images_has_a_page(dataset: Dataset, tmp_path: Path) -> None:
    shutil.rmtree(dataset.root)
    listed = Dataset(dataset.folder, dataset.table, dataset.info.model_copy(update={"list_only": True}))
    page = page_of(listed, tmp_path)
    assert page.count("no picture is there") == 3
    assert "87 of its 87 images are not there" in page


def test_the_page_lies_in_the_folder_and_is_told(inspect: Inspect, dataset: Dataset) -> None:
    code, out, _ = inspect(dataset.folder)
    assert code == 0
    assert f"page: {dataset.folder / 'inspect.html'}" in out
    assert "The long tail" in (dataset.folder / "inspect.html").read_text()
    assert inspect(dataset.folder)[0] == 0  # Its own page may be replaced,
    code, _, err = inspect(dataset.folder, "--out", dataset.folder / "dataset.json")
    assert code == 2
    assert "dataset.json exists already" in err  # nothing else.


def test_strict_tells_by_its_exit_code(inspect: Inspect, dataset: Dataset, tmp_path: Path) -> None:
    code, out, _ = inspect(dataset.folder, "--strict", "--no-page")
    assert code == 1
    assert "wrong (" in out
    assert "broken: 1 image (image050.png)" in out
    assert not (dataset.folder / "inspect.html").exists()
    code, out, _ = inspect(toy.make_dataset(tmp_path / "good").folder, "--strict", "--no-page")
    assert code == 0
    assert "nothing else was found" in out


def test_strict_and_near_duplicates(inspect: Inspect, tmp_path: Path) -> None:
    made = toy.make_dataset(tmp_path / "near")
    with Image.open(made.paths()[3]) as image:
        image.resize((40, 40), Image.Resampling.BICUBIC).save(made.paths()[86])
    assert inspect(made.folder, "--strict", "--no-page")[0] == 1
    assert inspect(made.folder, "--strict", "--no-page", "--near", "0")[0] == 0
    assert inspect(made.folder, "--near", "-1")[0] == 2


def test_a_missing_image_is_wrong_but_no_mistake(inspect: Inspect, dataset: Dataset) -> None:
    dataset.paths()[9].unlink()
    code, out, _ = inspect(dataset.folder, "--no-page")
    assert code == 0
    assert "missing: 1 image (image009.png)" in out
    assert inspect(dataset.folder, "--no-page", "--strict")[0] == 1


def test_json_and_quick(inspect: Inspect, dataset: Dataset, tmp_path: Path) -> None:
    code, _, _ = inspect(dataset.folder, "--json", tmp_path / "a.json", "--no-page")
    assert code == 0
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["counts"]["train"] == [40, 12, 5]
    assert [pair["ids"] for pair in told["near"]["pairs"]] == [["image003", "image086"]]
    code, out, _ = inspect(dataset.folder, "--json", tmp_path / "b.json", "--quick")
    assert code == 0
    assert "the image files were not opened" in out
    assert json.loads((tmp_path / "b.json").read_text())["files"] is None
    assert not (dataset.folder / "inspect.html").exists()
    code, _, err = inspect(dataset.folder, "--quick", "--out", tmp_path / "page.html")
    assert code == 2
    assert "--quick opens no image" in err
