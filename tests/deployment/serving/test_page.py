"""The page in a real browser: images in, answers out, and nothing asked of anybody else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lmd.evaluation.predict import Model
from tests.data.decode.test_dicom import SECRET, header, written
from tests.deployment.serving.asking import png
from tests.deployment.serving.conftest import Served
from tests.reporting.look import Visit

TOKEN = "a-token-that-is-long-enough"


def until(visit: Visit, expression: str) -> None:
    """Waits until an expression is true; the policy of the page forbids playwright's own way of waiting."""
    for _ in range(400):
        if visit.page.evaluate(expression):
            return
        visit.page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def give(visit: Visit, *given: Path) -> None:
    """Chooses files, and waits for their answers."""
    visit.page.set_input_files("#files", [str(file) for file in given])
    until(
        visit,
        "!document.getElementById('results').hidden && /of .* answered/.test(document.getElementById('status').textContent)",
    )


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    return written(tmp_path / "scan.dcm", header(pixels, "RGB"))


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_a_dicom_file_is_answered_and_the_page_is_accessible(
    browser: Any, served: Served, model: Model, dicom: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    row = model.predict(dicom, sets=0.9).iloc[0]
    with Visit(browser, served.address, width, scheme) as visit:
        visit.page.wait_for_selector("#asking:not([hidden])")
        visit.is_quiet_and_accessible()
        give(visit, dicom)
        assert visit.page.locator(".said").inner_text() == headline(row)
        assert (
            visit.page.get_by_text("Prediction set: ").inner_text()
            == f"Prediction set: {', '.join(row['set'].split('; '))}."
        )
        cells = dict(zip(
            visit.page.locator("#detail tbody th").all_inner_texts(),
            visit.page.locator("#detail tbody tr td:nth-child(2)").all_inner_texts(), strict=True,
        ))  # fmt: skip
        expected = {name: row[f"p_{name}"] for name in ("common", "less", "rare")}
        assert {name.removesuffix(" (rare)"): float(p) for name, p in cells.items()} == pytest.approx(
            expected, abs=6e-4
        )
        assert "rare (rare)" in cells
        assert list(map(float, cells.values())) == sorted(map(float, cells.values()), reverse=True)
        images = visit.page.locator("#detail img")
        assert images.count() == 5  # As it was read, the map, and three training images.
        assert visit.page.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        visit.is_quiet_and_accessible()
        visit.page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert (tmp_path / "page.png").stat().st_size > 20_000
        text = visit.page.content()
    assert not [secret for secret in SECRET if secret in text]
    assert "For research use only. Not a medical device." in text


def test_all_of_it_is_done_with_the_keyboard(browser: Any, served: Served, dicom: Path) -> None:
    with Visit(browser, served.address, 1280) as visit:
        visit.page.wait_for_selector("#asking:not([hidden])")
        reached = []
        for _ in range(5):
            visit.page.keyboard.press("Tab")
            reached.append(visit.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert reached[:3] == ["files", "coverage", "frame"]
        give(visit, dicom)
        assert visit.page.evaluate("document.activeElement.id") == "answers-head"
        visit.page.locator("#prior").focus()
        visit.page.keyboard.press("ArrowDown")
        visit.page.keyboard.press("ArrowDown")
        until(
            visit,
            "document.querySelector('#detail caption').textContent === 'Probabilities at the chosen shares'",
        )
        assert visit.page.locator("#prior").input_value() == "uniform"


def test_files_that_are_dropped_are_a_batch_with_a_csv(
    browser: Any, served: Served, model: Model, tmp_path: Path
) -> None:
    names = ["=evil.png", "b, c.png", "broken.png"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(png(number, number) if number < 2 else b"%PDF-1.4")
    expected = model.predict([tmp_path / name for name in names[:2]], sets=0.9)
    with Visit(browser, served.address, 1280) as visit:
        visit.page.wait_for_selector("#asking:not([hidden])")
        drop(visit, [tmp_path / name for name in names])
        until(visit, "document.getElementById('status').textContent === '2 of 3 answered, 1 cannot be read'")
        assert visit.page.locator("#overview tbody th").all_inner_texts() == names
        assert (
            "image 1 is not an image in a known format: it is a PDF"
            in visit.page.locator("#overview").inner_text()
        )
        table = saved(visit)
        assert table["file"].tolist() == ["'=evil.png", *names[1:]]
        columns = [name for name in expected.columns if name[:2] in ("p_", "d_")]
        np.testing.assert_allclose(table[columns][:2].astype(float), expected[columns], atol=1e-5)
        assert table["predicted"].tolist() == [*expected["predicted"], ""]
        assert table["set"].tolist() == [*expected["set"], ""]
        assert table["error"].tolist()[2].startswith("image 1 is not an image")
        visit.page.get_by_role("button", name="b, c.png").click()
        until(
            visit,
            "document.activeElement.textContent === 'b, c.png' && document.querySelectorAll('#detail img').length === 5",
        )
        quiet_but_for(visit, 422)
        visit.page.get_by_role("button", name="Forget").click()
        assert visit.page.locator("#results").is_hidden()
        assert visit.page.locator("img").count() == 0


def headline(row: pd.Series) -> str:
    """What the page says of an answer of the command, at no prior."""
    name = row["predicted"]
    return f"{name}, decided with d = {row[f'd_{name}']:.3f} (probability p = {row[f'p_{name}']:.3f})"


def quiet_but_for(visit: Visit, status: int) -> None:
    """Asserts that the page is sound, and that it complained of refused requests alone."""
    assert [one for one in visit.complaints if f"status of {status}" not in one] == []
    visit.complaints.clear()
    visit.is_quiet_and_accessible()


def drop(visit: Visit, given: list[Path]) -> None:
    """Drops files, as a person does with a mouse."""
    contents = [[file.name, list(file.read_bytes())] for file in given]
    data = visit.page.evaluate_handle(
        """(files) => { const data = new DataTransfer();
        for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name));
        return data; }""",
        contents,
    )
    visit.page.dispatch_event("#drop", "drop", {"dataTransfer": data})


def saved(visit: Visit) -> pd.DataFrame:
    """The CSV that the page saves, as texts."""
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Save the answers as CSV").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text())))
    return pd.DataFrame(rows[1:], columns=rows[0])


def test_prevalence_moves_the_answers(browser: Any, served: Served, model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0, 5))
    shares = {"common": 0.1, "less": 0.1, "rare": 0.8}
    row = model.predict(tmp_path / "a.png", prior=shares).iloc[0]
    with Visit(browser, served.address, 360) as visit:
        visit.page.wait_for_selector("#asking:not([hidden])")
        give(visit, tmp_path / "a.png")
        visit.page.select_option("#prior", "shares")
        for name, share in shares.items():
            visit.page.get_by_label(f"{name} (%)").fill(str(100 * share))
            visit.page.get_by_label(f"{name} (%)").blur()
        until(
            visit,
            "/common 0.100, less 0.100, rare 0.800/.test(document.getElementById('prior-notes').textContent)",
        )
        assert row["predicted"] == "rare"
        assert visit.page.locator(".said").inner_text() == f"rare, probability p = {row['p_rare']:.3f}"
        quiet_but_for(visit, 422)  # While the shares were typed, they did not sum to 1.
        visit.page.get_by_label("rare (%)").fill("5")
        visit.page.get_by_label("rare (%)").blur()
        until(visit, "/sum to 0.25, not to 1/.test(document.getElementById('prior-notes').textContent)")
        assert visit.page.locator("#detail caption").inner_text() == "Probabilities"


def test_a_token_is_asked_for_and_a_wrong_one_again(
    browser: Any, serve: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(0, 5))
    served = serve(token=TOKEN)
    with Visit(browser, served.address, 360) as visit:
        visit.page.wait_for_selector("#token-form:not([hidden])")
        assert visit.page.locator("h1").inner_text() == "Ask a trained model"  # Nothing of the model is told.
        visit.page.get_by_label("Token").fill("wrong")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#token-form:not([hidden])")
        visit.page.get_by_label("Token").fill(TOKEN)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#asking:not([hidden])")
        assert visit.page.locator("h1").inner_text() == "ce on toy"
        quiet_but_for(visit, 401)
        give(visit, tmp_path / "a.png")
        assert visit.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
            0,
            0,
            "",
        ]


def test_the_files_of_the_page_name_no_other_server() -> None:
    folder = files("lmd.deployment.serving").joinpath("page")
    for name in ("index.html", "serve.css", "serve.js"):
        assert re.findall(r"https?:|//[a-z]+\.", folder.joinpath(name).read_text()) == []
