"""The pictures of the pages: a small run on phantoms, its pages in a browser, parts of them as files.

    python docs/make_pictures.py --work WORK

WORK keeps data and runs, so that a second call draws anew and trains nothing. Phantoms alone: no picture of
a patient ever stands in the docs. It needs Chromium, and takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import sync_playwright

import lmd

FOLDER = Path(__file__).parent / "pictures"
WIDTH = 900  # of the window, in pixels
COMMON = {"encoder": "resnet10t", "pretrained": False, "size": 48, "batch": 32, "stage1": {"epochs": 12}}
FAST = {"stage1.optimisation.lr": 0.02, "stage1.optimisation.schedule": "cosine"}
LMD = {"stage1.consistency_weight": 1.0, "iterations": 2, "m_step.virtual_per_class": 3000}


class Shot(NamedTuple):
    """A picture: its name, the page, what to show (CSS; first to last), and where to end (pixels)."""

    name: str
    page: str
    first: str
    last: str
    most: int


SHOTS = (
    Shot("report-verdict", "lmd-1/report.html", "h1", ".verdict", 900),
    Shot(
        "report-classes", "lmd-1/report.html", ".words > div:nth-child(1)", ".words > div:nth-child(2)", 500
    ),
    Shot("report-mistake", "lmd-1/report.html", ".case:nth-child(1) h4", ".case:nth-child(1) > div", 600),
    Shot("inspect", "data/inspect.html", "h1", "h2 + figure", 900),
    Shot("compare", "comparison/compare.html", "h1", "#ranking + figure", 900),
)


def main() -> None:
    """Trains what is missing, then draws all pictures."""
    parser = argparse.ArgumentParser(description="the pictures of the docs")
    parser.add_argument("--work", type=Path, required=True, help="a folder for data and runs")
    work = parser.parse_args().work
    make_pages(work)
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for shot in SHOTS:
            draw(browser, work, shot)
        browser.close()


def make_pages(work: Path) -> None:
    """Makes the data, two runs of each of two methods, and the pages of all of them."""
    data, runs = work / "data", {}
    if not data.exists():
        lmd.prepare("phantom", data, images=200, imbalance=25, seed=3, test_per_class=20, val_per_class=12)
    for method, more in (("ce", {}), ("lmd", LMD)):
        for seed in (1, 2):
            out = work / f"{method}-{seed}"
            settings = {**COMMON, **FAST, **more}
            runs[out.name] = lmd.train(
                data,
                method=method,
                budget="short",
                settings=settings,
                seed=seed,
                out=out,
                resume=out.exists(),
            )
            lmd.evaluate(runs[out.name])
    lmd.report(runs["lmd-1"])
    lmd.compare(list(runs.values()), tau="own", out=work / "comparison")
    write_inspection(data)


def write_inspection(data: Path) -> None:
    """Writes the page of `lmd inspect`, as the command does."""
    from typer.testing import CliRunner

    from lmd.cli import data as verbs  # noqa: F401
    from lmd.cli.app import app

    CliRunner().invoke(app, ["inspect", str(data)], catch_exceptions=False)


def draw(browser: Any, work: Path, shot: Shot) -> None:
    """Writes one picture, twice as sharp as its size."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=1.5)
    page.goto((work / shot.page).resolve().as_uri())
    first, last = (page.locator(place).first.bounding_box() for place in (shot.first, shot.last))
    top, left = first["y"] - 8, min(first["x"], last["x"]) - 8
    right = max(box["x"] + box["width"] for box in (first, last)) + 8
    height = min(last["y"] + last["height"] + 8 - top, shot.most)
    clip = {"x": left, "y": top, "width": right - left, "height": height}
    shown = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    shown.convert("RGB").save(FOLDER / f"{shot.name}.webp", quality=70, method=6)
    page.close()


if __name__ == "__main__":
    main()
