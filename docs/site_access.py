"""What the theme leaves out for those who cannot see a page, or have no mouse; axe-core names each of these.

Changed in the pages when they have been written: names of parts, levels of headings, and a stop of the
tabulator at what scrolls. Pages of sources lead back to descriptions; where a function is described under
its short name alone, the way back leads nowhere, and goes.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sphinx.application import Sphinx

CHANGES = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="This page">',
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper ': '<div tabindex="0" role="group" aria-label="table" class="table-wrapper ',
    '<div id="search-results">': '<h1>Search</h1>\n<div id="search-results">',
}


BACK = re.compile(r'<a class="viewcode-back" href="([^"#]+)#([^"]+)">\[docs\]</a>')


def _is_there(page: Path, path: str, name: str) -> bool:
    return f'id="{name}"' in _text((page.parent / path).resolve())


@cache
def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def make_reachable(app: Sphinx, error: Exception | None) -> None:
    """Changes every page that was written."""
    if error is not None or app.builder.name != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = before = page.read_text(encoding="utf-8")
        for old, new in CHANGES.items():
            text = text.replace(old, new)
        text = BACK.sub(lambda link, page=page: link[0] if _is_there(page, link[1], link[2]) else "", text)
        if text != before:
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers it with Sphinx."""
    app.connect("build-finished", make_reachable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
