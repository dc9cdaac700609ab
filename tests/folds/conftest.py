"""Three folds of a small data set of patients, and a method that was trained and measured on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import lmd
from lmd.data.dataset.folds_folder import Folds
from lmd.folds.folder import FoldsRun
from tests import toy

SETTINGS = {**toy.COMMON, "select": "val_bacc", "stage1": {"epochs": 2}}


def write_raw(root: Path, first: int = 0) -> Path:
    """Writes 60 images of 30 patients with their table; 30, 18 and 12 of the three classes.

    Another `first` draws other images, of other patients.
    """
    (root / "images").mkdir(parents=True)
    rows: list[dict[str, str]] = []
    for number in range(60):
        label = 0 if number < 30 else 1 if number < 48 else 2
        Image.fromarray(toy.draw(label, first + number)).save(root / "images" / f"x{number:02d}.png")
        rows.append(
            {
                "image": f"x{number:02d}.png",
                "label": toy.CLASSES[label],
                "patient": f"p{(first + number) // 2}",
            }
        )
    pd.DataFrame(rows).to_csv(root / "cases.csv", index=False)
    return root


def make_folds(raw: Path, out: Path, **options: object) -> Folds:
    made = lmd.prepare("table", out, root=raw / "images", table=raw / "cases.csv", **options)
    assert isinstance(made, Folds)
    return made


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("folds") / "raw")


@pytest.fixture(scope="session")
def folds(raw: Path) -> Folds:
    return make_folds(raw, raw.parent / "cv", folds=3)


@pytest.fixture(scope="session")
def finished(folds: Folds) -> Path:
    """A finished folds run, that no test may write into."""
    out = folds.folder.parent / "finished"
    run = lmd.train(folds, method="ce", settings=SETTINGS, out=out)
    assert isinstance(run, FoldsRun)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the folds run, as each test writes into it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
