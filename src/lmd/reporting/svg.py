"""Drawings inside a page: names of their own, a label for readers, and the colours of the page."""

from __future__ import annotations

import re
from html import escape
from itertools import count

from lmd.reporting.figures import BLUE, GREEN, GREY, ORANGE

# What stands in a drawing, and the page's variable for it; in the dark each of them has another value.
_COLOURS = {
    "#ffffff": "paper",
    "#000000": "ink",
    "#cccccc": "line",
    "#d5dae1": "line",
    BLUE.lower(): "blue",
    ORANGE.lower(): "orange",
    GREEN.lower(): "green",
    GREY.lower(): "muted",
    "#cc79a7": "pink",
    "#e69f00": "yellow",
    "#56b4e9": "sky",
}
_COLOUR = re.compile("|".join(_COLOURS))
_TAG = re.compile(r"<[^>]+>")  # Names of classes stand between tags, and stay as they are.
# The places where matplotlib writes a name, or names one.
_NAME = re.compile(r'(?<=\bid=")(?=[^"])|(?<=href="#)|(?<=url\(#)')


class Inline:
    """Puts drawings into one page, so that no two have a name in common."""

    def __init__(self) -> None:
        """Begins a page."""
        self._numbers = count(1)

    def __call__(self, svg: str, label: str = "figure") -> str:
        """Returns a drawing as it stands in the page; the label is for those who cannot see it."""
        number = next(self._numbers)

        def own(tag: re.Match[str]) -> str:
            named = _NAME.sub(f"d{number}-", tag[0])
            return _COLOUR.sub(lambda found: f"var(--{_COLOURS[found[0]]}, {found[0]})", named)

        return _TAG.sub(own, svg).replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
