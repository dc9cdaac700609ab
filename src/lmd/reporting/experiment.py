"""The files of a reproduced table or figure: table.md, table.csv, table.json and the pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from lmd.files import atomic_write
from lmd.reporting.experiment_answers import answers, title_of, with_interval
from lmd.reporting.experiment_figures import figures
from lmd.settings import Tree
from lmd.spreadsheet import guarded
from lmd.text import image_count, markdown

_CSV = ("block", "row", "method", "kind", "status", "metric", "paper", "paper_sd", "paper_source")
_CSV_OURS = ("ours", "low", "high", "n", "images", "seeds", "seconds")
_CSV_GAP = ("difference", "difference_low", "difference_high", "verdict", "caveats")


def write_experiment(out: Path, content: Tree) -> Path:
    """Writes all files of an experiment and returns the path of table.md."""
    pictures = figures(content)
    for name, svg in pictures.items():
        atomic_write(out / name, svg)
    atomic_write(out / "table.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    atomic_write(out / "table.csv", _csv(content))
    atomic_write(out / "table.md", "\n".join(_markdown(content, list(pictures))) + "\n")
    return out / "table.md"


def _csv(content: Tree) -> str:
    """One line for each cell; what must be known of them all stands in every line, for lines are copied."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_CSV, *_CSV_OURS, *_CSV_GAP))
    for block in content["blocks"]:
        for row in block["rows"]:
            for metric, cell in row["cells"].items():
                line = [*_csv_line(block, row, metric, cell), " ".join(content["caveats"])]
                writer.writerow(map(guarded, line))
    return text.getvalue()


def _csv_line(block: Tree, row: Tree, metric: str, cell: Tree) -> list[Any]:
    paper, ours = cell["paper"], cell["ours"] or {}
    gap = (row.get("difference") or {}).get(metric) or {}
    source = paper.get("source") or f"{paper['shown']}: {paper['reason']}"
    head = [block["key"], row["key"], row["method"], row["kind"], row["status"], metric]
    numbers = [paper["value"], paper["sd"], source, *(ours.get(name) for name in ("value", "low", "high"))]
    counts = [row["n"], ours.get("images"), len(row["seeds"]), row["seconds"]]
    return [*head, *numbers, *counts, *(gap.get(name) for name in ("value", "low", "high", "verdict"))]


def _markdown(content: Tree, pictures: list[str]) -> list[str]:
    title = markdown(content["title"])
    lines = [f"# {title}", "", *_first(content), *_how(content)]
    for block in content["blocks"]:
        if block["data"] is None and not block["shows_paper"]:
            continue  # Nothing was measured for these columns, and the paper's are of other data.
        lines += ["", f"## {markdown(block['title'])}", "", *_table(content, block)]
        if any(row["status"] == "run" for row in block["rows"]):
            lines += answers(content, block)
    lines += [
        "",
        "## Notes",
        "",
        *(f"- {markdown(note)}" for note in [*content["notes"], *_paper_notes(content)]),
    ]
    lines += [f"\n![{title}]({name})" for name in pictures]
    return lines


def _first(content: Tree) -> list[str]:
    """What a reader has to know before the first number."""
    if not content["caveats"]:
        return []
    return ["**Read first.**", "", *(f"- {markdown(line)}" for line in content["caveats"]), ""]


def _how(content: Tree) -> list[str]:
    made = content["interval"]
    together = "; images of a lesion or patient count together" if made["clustered"] else ""
    shown = any(_shows_paper(content, block) for block in content["blocks"])
    beside = "beside the paper's number ours" if shown else "ours"
    return [
        f"Values in percent: {beside}, the mean over seeds with its {made['level']:.0%} interval in brackets "
        f"({made['method']}{together}). The paper is arXiv 2502.03238."
    ]


def _shows_paper(content: Tree, block: Tree) -> bool:
    """Whether the paper's numbers stand beside ours: it prints some, and of these data."""
    return content["paper_prints_numbers"] and block["shows_paper"]


def _table(content: Tree, block: Tree) -> list[str]:
    """A column for each metric, or a pair of them where the paper's numbers belong: the paper's and ours."""
    titles = [metric["title"] for metric in content["metrics"]]
    by = title_of(content, content["ranking"])
    if _shows_paper(content, block):
        titles = [f"{title}, {whose}" for title in titles for whose in ("paper", "ours")]
    head = ["row", *titles]
    head += [f"{by}: {block['reference']} - row"] if block["reference"] else []
    head += ["clearly above / below"] if _ordered(block) else []
    head += ["n", "seeds", "seconds", "kind"]
    rows = [_line(content, block, row) for row in block["rows"]]
    return [_join(head), _join(["---"] * len(head)), *map(_join, rows)]


def _ordered(block: Tree) -> bool:
    """Whether any row may be put in an order at all."""
    return any("clearly_above" in row for row in block["rows"])


def _join(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _line(content: Tree, block: Tree, row: Tree) -> list[str]:
    cells = [row["title"]]
    for metric in content["metrics"]:
        cell = row["cells"][metric["key"]]
        if _shows_paper(content, block):
            cells.append(cell["paper"]["shown"])
        cells.append(row["status"] if cell["ours"] is None else with_interval(cell["ours"]))
    if block["reference"]:
        gap = (row.get("difference") or {}).get(content["ranking"])
        cells.append("-" if gap is None else with_interval(gap, signed=True))
    if _ordered(block):
        cells.append(f"{row['clearly_above']} / {row['clearly_below']}" if "clearly_above" in row else "-")
    seconds = None if row["seconds"] is None else f"{row['seconds']:.1f}"
    images = None if row["n"] is None else image_count(row["n"])
    counts = (images, len(row["seeds"]), seconds)
    return [*cells, *("-" if number is None else str(number) for number in counts), row["kind"]]


def _paper_notes(content: Tree) -> list[str]:
    """Where the paper's values come from, and why others are absent; each reason once."""
    if not content["paper_prints_numbers"]:
        return ["The paper's figure prints no numbers: all numbers here are ours."]
    sources: dict[str, None] = {}
    for block in content["blocks"]:
        if not block["shows_paper"]:
            continue
        for row in block["rows"]:
            for cell in row["cells"].values():
                paper = cell["paper"]
                text = paper.get("source")
                words = f"The paper's numbers: {text}." if text else f"'{paper['shown']}': {paper['reason']}."
                sources[words] = None
    return list(sources)
