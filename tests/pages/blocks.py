"""The code blocks of the pages, and the commands in those for a shell."""

from __future__ import annotations

import re
import shlex
import textwrap
from typing import NamedTuple

from tests.test_words import ROOT, name_of

# Those that somebody reads to do something. Pages beside measured results are records of old runs.
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"])
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[^\n`]*)\n(?P<code>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL
)
# What begins a command in the pages: such a line in an indented block would escape the tests.
PROGRAMS = (
    "lmd",
    "make",
    "python",
    "python3",
    "pip",
    "git",
    "torchrun",
    "srun",
    "docker",
    "curl",
    "conda",
    "uv",
)


class Block(NamedTuple):
    """A code block: its page, the number of the line before its code, what it is written in, and the code."""

    page: str
    line: int
    kind: str
    code: str


class Typed(NamedTuple):
    """A command as it is typed: its page, the number of its first line, and its words."""

    page: str
    line: int
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(self.words)


def blocks_of(text: str, page: str) -> list[Block]:
    """The fenced code blocks of a page; directives of the site, such as {toctree}, are none."""
    found = []
    for match in FENCE.finditer(text):
        if not match["kind"].startswith("{"):
            line = text[: match.start("code")].count("\n")
            found.append(Block(page, line, match["kind"].strip(), textwrap.dedent(match["code"])))
    return found


def pages() -> dict[str, list[Block]]:
    """The blocks of each page that has any, by the name of the page."""
    found = {name_of(page): blocks_of(page.read_text(), name_of(page)) for page in PAGES}
    return {page: blocks for page, blocks in found.items() if blocks}


def commands(block: Block) -> list[Typed]:
    """The commands of a block, without comments; a line that ends in a backslash goes on."""
    found, start, held = [], block.line, ""
    for number, line in enumerate(block.code.splitlines(), block.line + 1):
        start = start if held else number
        held += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        words = tuple(shlex.split(held, comments=True))
        held = ""
        if words:
            found.append(Typed(block.page, start, words))
    return found


def hidden_commands(text: str) -> list[str]:
    """The lines outside of fences that look like a command in an indented block."""
    rest = FENCE.sub("", text)
    indented = re.findall(r"(?<=\n)\n(?: {4,}.*\n)+", rest)
    lines = [line.strip() for block in indented for line in block.splitlines()]
    return [line for line in lines if re.match(rf"(?:{'|'.join(PROGRAMS)}) ", line)]
