"""The site of the docs: it builds without a warning, asks no other host for anything, and is searched offline."""

from __future__ import annotations

import io
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from tests.pages.blocks import FENCE
from tests.reporting.look import Visit
from tests.test_paper_page import PAPER, paper_rows, rows_under
from tests.test_words import ROOT, name_of

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a warning is an error there, and here a line that is shown."""
    application = pytest.importorskip("sphinx.application", reason="Sphinx is not installed")
    out, told = tmp_path_factory.mktemp("site"), io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Sphinx's extensions warn of each other; its own warnings are told.
        application.Sphinx(
            ROOT, DOCS, out / "site", out / "doctrees", "html", status=None, warning=told
        ).build()
    assert told.getvalue() == ""
    return out / "site"


# What the browser would fetch.

FETCHED = {
    "link": "href",
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}


class Links(HTMLParser):
    """The addresses of a page: those that a browser fetches by itself, and those of plain links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.plain: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.names |= {found["id"]} if "id" in found else set()
        if tag == "a":
            self.plain.append(found.get("href", ""))
        elif found.get(FETCHED.get(tag, ""), ""):
            self.fetched.append(found[FETCHED[tag]])
        self.fetched += (
            re.findall(r"url\(([^)]+)\)", found.get("style", "")) + found.get("srcset", "").split()[:1]
        )


def leads_elsewhere(address: str) -> bool:
    return bool(urlsplit(address.strip("'\"")).netloc)


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    pages = {page: Links(page.read_text()) for page in site.rglob("*.html")}
    assert len(pages) > len(PAGES)
    assert [
        (page.name, found)
        for page, links in pages.items()
        for found in links.fetched
        if leads_elsewhere(found)
    ] == []
    for sheet in site.rglob("*.css"):
        named = re.findall(r"url\(([^)]+)\)|@import\s+([^;]+)", sheet.read_text())
        assert [address for pair in named for address in pair if leads_elsewhere(address)] == [], sheet.name


def test_what_is_fetched_is_found() -> None:
    links = Links(
        '<a href="https://a.b" id="n">x</a><img src="//c.d/e.png"><script src="_static/f.js"></script>'
    )
    assert (links.plain, links.names) == (["https://a.b"], {"n"})
    assert [address for address in links.fetched if leads_elsewhere(address)] == ["//c.d/e.png"]


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    """With its place in the page; pages of sources and search are made by the builder, and are there, too."""
    pages = {page.resolve(): Links(page.read_text()) for page in site.rglob("*.html")}
    dead = []
    for page, links in pages.items():
        for link in links.plain:
            if link and not leads_elsewhere(link) and not urlsplit(link).scheme:
                path, place = unquote(urlsplit(link).path), unquote(urlsplit(link).fragment)
                target = (page.parent / path).resolve() if path else page
                if not target.exists() or (place and target in pages and place not in pages[target].names):
                    dead.append((page.relative_to(site.resolve()).as_posix(), link))
    assert dead == []


def test_each_name_of_the_paper_s_tables_leads_to_its_description_and_to_its_source(site: Path) -> None:
    page = (site / "docs" / "paper.html").read_text()
    named = [name for row in paper_rows(PAPER.read_text()) for name in row.functions]
    named += [name for row in rows_under("| Line |") for name in re.findall(r"`(lmd\.[\w.]+)`", row[2])]
    assert len(named) > 30
    described = Links((site / "docs" / "paper-functions.html").read_text())
    assert [name for name in named if f"paper-functions.html#{name}" not in page] == []
    assert [name for name in named if name not in described.names] == []
    assert "_modules/lmd/stages/calibration/algorithm.html" in page
    assert "_modules/lmd/losses/relation.html" in (site / "docs" / "paper-functions.html").read_text()


def test_every_public_name_is_described(site: Path) -> None:
    import lmd

    described = Links((site / "docs" / "reference.html").read_text()).names
    rooms = {"__version__", *lmd._ROOMS}
    assert [name for name in lmd.__all__ if name not in rooms and f"lmd.{name}" not in described] == []
    assert [name for name in lmd.losses.__all__ if f"lmd.losses.{name}" not in described] == []


# Pictures.


def test_pictures_are_small_and_said_in_words() -> None:
    shown = [
        (match[1], page.parent / match[2])
        for page in PAGES
        for match in re.finditer(r"!\[([^\]]*)\]\(([^)\s]+)\)", FENCE.sub("", page.read_text()))
    ]
    ours = [path for _, path in shown if path.parent == DOCS / "pictures"]
    assert {path.resolve() for path in ours} == {path.resolve() for path in (DOCS / "pictures").iterdir()}
    assert sum(path.stat().st_size for path in (DOCS / "pictures").iterdir()) <= 400_000
    assert [path.name for words, path in shown if len(words.split()) < 5] == []
    for path in ours:
        with Image.open(path) as picture:
            assert picture.width >= 600


# In a browser.


@pytest.fixture(params=["docs/index.html", "docs/start.html", "docs/paper.html", "search.html"])
def visited(request: pytest.FixtureRequest, site: Path) -> Path:
    return site / request.param


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_a_page_of_the_site_is_accessible_and_asks_for_files_alone(
    browser: Any, visited: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    with Visit(browser, visited, width, scheme) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        assert visit.complaints == []  # axe itself tries to read the style sheets, and is refused.
        assert [url for url in visit.requests if not url.startswith(("data:", "file:"))] == []
        found = axe.Axe().run(visit.page).response["violations"]
        assert [(rule["id"], [node["html"][:160] for node in rule["nodes"][:3]]) for rule in found] == []


def test_the_search_finds_a_page_without_a_server(browser: Any, site: Path) -> None:
    with Visit(browser, site / "docs" / "index.html", 1280) as visit:
        visit.page.locator("input[name=q]").first.fill("shift of the decision tau")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("ul.search li a")
        links = visit.page.locator("ul.search li a").evaluate_all("links => links.map(link => link.href)")
        assert any("docs/tau.html" in link for link in links[:5])
        visit.page.goto(links[0])
        assert visit.page.locator("h1").count() == 1
        assert visit.complaints == []


def test_the_pages_come_in_their_order() -> None:
    """As a newcomer meets them; a page that is in no list is a warning of the build."""
    text = (DOCS / "index.md").read_text()
    begin = ["start", "your-data", "which-method", "understanding", "small-classes", "deployment"]
    order = [*begin, "api", "paper", "methods/index", "reliability", "results", "log"]
    assert sorted(order, key=lambda name: text.index(f"\n{name}\n")) == order
    assert name_of(DOCS / "index.md") in {name_of(page) for page in PAGES}
