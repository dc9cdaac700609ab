"""The pages are plain: short sentences, short lines, no citation of a page that is not in the repository.

What counts as prose, and how it is measured:

- Fenced and indented code, tables, headings and images are no prose. A code block is indented by four columns
  or more and follows a blank line.
- A paragraph and a list item each end a sentence, with or without a full stop. Within them a sentence ends at
  a full stop, question mark or exclamation mark before a space, unless the word is an abbreviation.
- A word has a letter or a digit. Code in backticks counts with all its words, a link with its text.
- A line may have more than 110 characters only if it is a row of a table or a single word, such as a link.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEDIAN, NINETIETH, WIDTH = 18, 32, 110  # words, words, characters

# Every page that a person wrote: those at the top but the changelog (a list of changes), all of docs/, and the
# pages beside measured results (the other pages there are written by the command).
PAGES = sorted(
    [path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"]
    + [*(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("README.md")]
)
PYTHON = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])

ABBREVIATIONS = ("e.g.", "i.e.", "al.", "vs.", "cf.", "eq.", "fig.", "sec.", "no.", "approx.")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# From a page to its sentences.


def prose(text: str) -> Iterator[str]:
    """The paragraphs and list items of a markdown page, each as one line."""
    block: list[str] = []
    fenced, after_blank, in_code = False, True, False
    for line in text.splitlines():
        bare = line.strip()
        fence = bare.startswith(("```", "~~~"))
        indented = line.startswith("    ") and (in_code or (after_blank and not fenced))
        in_code = bool(indented or (in_code and not bare))
        item = re.match(r"([-*+]|\d+[.)])\s+", bare)
        ends = fence or fenced or in_code or not bare or bare.startswith(("|", "#", "<!--")) or item
        if ends and block:
            yield " ".join(block)
            block = []
        if item and not (fence or fenced or in_code):
            block = [bare[item.end() :]]
        elif not ends:
            block.append(bare)
        fenced ^= fence
        after_blank = not bare
    if block:
        yield " ".join(block)


def plain(block: str) -> str:
    """A block without markdown: images go, a link is its text, code is words without punctuation."""
    block = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", block)
    block = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", block)
    return re.sub(r"`([^`]*)`", lambda code: re.sub(r"[^\w\s]", "x", code[1]), block)


def sentences(text: str) -> list[str]:
    """The sentences of a markdown page, in order."""
    found = []
    for block in map(plain, prose(text)):
        start = 0
        for end in re.finditer(r"""[.!?]["'”’)*_\]]*(?=\s)""", block):
            last = block[start : end.end()].rpartition(" ")[2].lstrip("(*_\"'").lower()
            if last not in ABBREVIATIONS:
                found.append(block[start : end.end()].strip())
                start = end.end()
        found.append(block[start:].strip())
    return [sentence for sentence in found if length(sentence)]


def length(sentence: str) -> int:
    """Words with a letter or a digit."""
    return sum(bool(re.search(r"[^\W_]", word)) for word in sentence.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("A line\nand its end. Next", ["A line and its end.", "Next"]),
        ("Rate .01 or 0.1 e.g. here. eq. 4 too", ["Rate .01 or 0.1 e.g. here.", "eq. 4 too"]),
        ("**Bold.** Then (in brackets.) And on", ["**Bold.**", "Then (in brackets.)", "And on"]),
        ("- an item\n- another one\n  that goes on", ["an item", "another one that goes on"]),
        ("1. first\n2. second", ["first", "second"]),
        (
            "Words before:\n\n    code. More code.\n\n    code\n\nwords after",
            ["Words before:", "words after"],
        ),
        ("Before\n```\ncode. Code\n\n- code\n```\nafter", ["Before", "after"]),
        ("# Heading. Here\ntext\n| a. b | c |\nmore", ["text", "more"]),
        ("See [the page](a.b. c.md) now. ![alt. text](x.png)", ["See the page now."]),
        ("Set `a.b = 1. 2` here. `lmd` runs", ["Set axb x 1x 2 here.", "lmd runs"]),
        ("Pan et al. wrote it", ["Pan et al. wrote it"]),
    ],
)
def test_the_splitter_finds_the_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("sentence", "words"),
    [("One two", 2), ("a - b", 2), ("x = 3.5 (p < .05)", 4), ("--- *", 0), ("well-known", 1)],
)
def test_a_word_has_a_letter_or_a_digit(sentence: str, words: int) -> None:
    assert length(sentence) == words


# What may be wrong with a page.

CITATION = re.compile(r"\b(?:methods\.md|evidence\.md|DESIGN)\b")


def ninetieth(lengths: list[int]) -> int:
    """The smallest length that nine sentences of ten do not exceed."""
    return sorted(lengths)[-(len(lengths) // 10) - 1]


def long_sentences(lengths: list[int]) -> list[str]:
    median, high = statistics.median(lengths), ninetieth(lengths)
    faults = [f"median sentence of {median} words"] if median > MEDIAN else []
    return faults + ([f"ninetieth percentile of {high} words"] if high > NINETIETH else [])


def too_wide(line: str) -> bool:
    return len(line) > WIDTH and not line.lstrip().startswith("|") and len(line.split()) > 1


def anchors(text: str) -> set[str]:
    """The names that a page's headings have as targets of links."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_nowhere(page: Path, text: str, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    there = target.read_text() if file and target.is_file() and target.suffix == ".md" else text
    return not target.exists() or (bool(anchor) and anchor not in anchors(there))


def dead_links(page: Path, text: str) -> list[str]:
    """The links within the repository that lead nowhere."""
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text))
    return [link for link in links if "://" not in link and leads_nowhere(page, text, link)]


def faults(page: Path, text: str) -> list[str]:
    found = long_sentences([length(sentence) for sentence in sentences(text)])
    found += [f"line {n} is too long" for n, line in enumerate(text.splitlines(), 1) if too_wide(line)]
    found += [f"cites {citation}, which is not in the repository" for citation in CITATION.findall(text)]
    return found + [f"the link {link} leads nowhere" for link in dead_links(page, text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_is_plain(page: Path) -> None:
    assert faults(page, page.read_text()) == []


def test_all_pages_together_are_plain() -> None:
    lengths = [length(sentence) for page in PAGES for sentence in sentences(page.read_text())]
    assert len(lengths) > 100
    assert long_sentences(lengths) == []


def test_a_page_that_is_not_plain_is_found() -> None:
    page = ROOT / "README.md"
    assert faults(page, "Short. " * 10) == []
    assert faults(page, "Short. " * 9 + "word\n" * 33) == []
    assert faults(page, "Short. " * 8 + ("word\n" * 32 + "end. ") * 2) == ["ninetieth percentile of 33 words"]
    assert faults(page, ("word " * 18 + "end.\n") * 3) == ["median sentence of 19 words"]
    assert faults(page, "Words.\n" + "w" * 60 + " " + "w" * 50) == ["line 2 is too long"]
    assert faults(page, "Words.\n    " + "code " * 23) == ["line 2 is too long"]
    assert faults(page, "Words.\n| " + "cell " * 30 + "|\n" + "w" * 111 + "\n" + "w" * 110) == []
    assert len(faults(page, "As in methods.md 1.3, evidence.md and DESIGN section 5.")) == 3
    links = "[a](docs/no.md), [b](docs/speed.md#stage-1), [c](https://a.b), [d](#here), `[e](x)`.\n# Here\n"
    assert faults(page, links + "[f](docs/speed.md#no), [g](#no)") == [
        f"the link {link} leads nowhere" for link in ("docs/no.md", "docs/speed.md#no", "#no")
    ]


# Citations in the code.


def remarks(code: str) -> str:
    """The docstrings and comments of a module."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, documented)]
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join([*(ast.get_docstring(node) or "" for node in nodes), *comments])


def test_no_docstring_or_comment_cites_a_page_that_is_not_in_the_repository() -> None:
    citing = {name_of(path) for path in PYTHON if CITATION.search(remarks(path.read_text()))}
    assert citing == set()


def test_a_citation_in_the_code_is_found() -> None:
    code = 'def f():\n    """See methods.md 1.2."""\n    return "evidence.md"  # DESIGN 2\n'
    assert CITATION.findall(remarks(code)) == ["methods.md", "DESIGN"]
    assert not CITATION.search(remarks('"""Designed after our_methods.mdx."""\nx = "methods.md"\n'))
