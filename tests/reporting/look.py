"""A page in a real browser: what tests of all pages look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class Visit:
    """A page that is looked at, in a file or of a server: its size and colours, what it asked for, and what it complained of."""

    def __init__(
        self, browser: Any, file: Path | str, width: int, scheme: str = "light", script: bool = True
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.width, self.file = width, file.as_uri() if isinstance(file, Path) else file
        self.page.goto(self.file)

    def is_quiet_and_accessible(self) -> None:
        """Asserts that it fits, asks nobody but its own server, says nothing, and that axe finds no violation."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
        assert self.page.evaluate("document.documentElement.scrollWidth") == self.width
        found = axe.Axe().run(self.page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found] == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:", self.file))] == []
        assert self.complaints == []

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()
