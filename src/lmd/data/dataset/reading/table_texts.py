"""Texts that are given for a table and are none: each is named by its first lines, with the way out."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from lmd.data.dataset.reading.table_kinds import AS_CSV
from lmd.errors import DataError
from lmd.text import shortened

_WEB = f"{AS_CSV}; its download may have failed"
_SQL = ("SQL", AS_CSV)
_JSON = f"{AS_CSV}, for example with pandas: read_json, to_csv"
_YAML = re.compile(r"(?:- )?[\w\"' -]+:(?:\s|$)|- |---$")
# A kind of text, by how it begins; comments above it count to what begins.
_KINDS = tuple(
    (re.compile(pattern, re.IGNORECASE), what, way)
    for pattern, what, way in (
        (r"<!doctype|<html|<table|<\?xml", "a web page or XML", _WEB),
        (r"(?-i:\{\s*[\"}]|\[\s*[{\[\"\d-])", "JSON", _JSON),
        (r"@relation\b", "an ARFF file (Weka)", AS_CSV),
        (r"\\(?:begin|documentclass|usepackage)\b", "LaTeX", AS_CSV),
        (r"create (?:table|database)|insert into|drop table|set \w+ ?=|begin(?:;| tran)|pragma ", *_SQL),
        (r".*\|.*\n[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*[|+][-:|+ \t]*(?:\n|$)", "a Markdown table", AS_CSV),
        (r"\+[-=]{2,}[-=+]*\s*\n", "a table drawn with lines", AS_CSV),
        (r"structure\(list\(", "a dump of R", AS_CSV),
        (r"ascii spss port file", "an SPSS file", AS_CSV),
    )
)  # fmt: skip
_DELIMITERS = ",;\t|"


def refuse_other_texts(path: Path, text: str) -> None:
    """Refuses a text that is no table, or that begins with a line of another kind.

    Raises:
        DataError: what it is, and the way out.
    """
    start = re.sub(r"\r\n?", "\n", text[:8000]).lstrip()
    line = start.partition("\n")[0].strip()
    if line.lower().startswith("sep="):
        raise DataError(
            f"{path} begins with '{line}', a line for Excel alone: delete it; the delimiter is found without "
            "it"
        )
    starts = (start, _below_comments(start))
    kind = next(((what, way) for begins, what, way in _KINDS if any(map(begins.match, starts))), None)
    if kind is None and _is_yaml(start):
        kind = "YAML", AS_CSV
    if kind is not None:
        raise DataError(f"{path} is {kind[0]}, not a table: {kind[1]}")
    if line.startswith(("#", "//", "%", "--")) and not _is_header(line, start):
        raise DataError(
            f"{path} begins with a comment ('{shortened(line, 40)}'): delete the lines above the header"
        )


def _below_comments(start: str) -> str:
    lines = [line for line in start.splitlines() if line.strip()]
    return "\n".join(itertools.dropwhile(lambda line: line.lstrip().startswith(("%", "--", "/*")), lines))


def _is_header(line: str, start: str) -> bool:
    """Whether a line that begins as a comment has as many fields as the line below it: "#,image,label"."""
    below = next((other for other in start.splitlines()[1:] if other.strip()), "")
    return any(line.count(mark) == below.count(mark) > 0 for mark in _DELIMITERS)


def _is_yaml(start: str) -> bool:
    """Whether each of the first lines is a key with its value, or an item of a list."""
    lines = [line for line in start.splitlines()[:20] if line.strip()]
    return len(lines) > 1 and all(_YAML.match(line.strip()) for line in lines)
