"""The files of a reproduced table or figure: table.md, table.csv, table.json and the pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from lmd.files import atomic_write
from lmd.reporting.experiment_figures import figures
from lmd.settings import Tree
from lmd.spreadsheet import guarded

_CSV = ("block", "row", "method", "kind", "status", "metric", "paper", "paper_sd", "paper_source")
_CSV_OURS = ("ours", "low", "high", "n", "seeds", "seconds")
_CSV_GAP = ("difference", "difference_low", "difference_high", "verdict")


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
    """One line for each cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_CSV, *_CSV_OURS, *_CSV_GAP))
    for block in content["blocks"]:
        for row in block["rows"]:
            for metric, cell in row["cells"].items():
                writer.writerow(map(guarded, _csv_line(block, row, metric, cell)))
    return text.getvalue()


def _csv_line(block: Tree, row: Tree, metric: str, cell: Tree) -> list[Any]:
    paper, ours = cell["paper"], cell["ours"] or {}
    gap = (row.get("difference") or {}).get(metric) or {}
    source = paper.get("source") or f"{paper['shown']}: {paper['reason']}"
    head = [block["key"], row["key"], row["method"], row["kind"], row["status"], metric]
    numbers = [paper["value"], paper["sd"], source, *(ours.get(name) for name in ("value", "low", "high"))]
    counts = [row["n"], len(row["seeds"]), row["seconds"]]
    return [*head, *numbers, *counts, *(gap.get(name) for name in ("value", "low", "high", "verdict"))]


def _markdown(content: Tree, pictures: list[str]) -> list[str]:
    lines = [f"# {content['title']}", "", *_how(content)]
    for block in content["blocks"]:
        lines += ["", f"## {block['title']}", "", *_table(content, block)]
        if any(row["status"] == "run" for row in block["rows"]):
            lines += _answers(content, block)
    lines += ["", "## Notes", "", *(f"- {note}" for note in [*content["notes"], *_paper_notes(content)])]
    lines += [f"\n![{content['title']}]({name})" for name in pictures]
    return lines


def _how(content: Tree) -> list[str]:
    made = content["interval"]
    cases = "lesions or patients with all their images" if made["clustered"] else "images"
    beside = "beside the paper's number ours" if content["paper_prints_numbers"] else "ours"
    return [
        f"Values in percent: {beside}, the mean over seeds with its {made['level']:.0%} interval in brackets "
        f"({made['method']}: {cases}; {made['draws']} draws). The paper is arXiv 2502.03238."
    ]


def _table(content: Tree, block: Tree) -> list[str]:
    """A column for each metric, or a pair of them where the paper prints numbers: the paper's and ours."""
    titles = [metric["title"] for metric in content["metrics"]]
    by = next(m["title"] for m in content["metrics"] if m["key"] == content["ranking"])
    if content["paper_prints_numbers"]:
        titles = [f"{title}, {whose}" for title in titles for whose in ("paper", "ours")]
    head = ["row", *titles]
    head += [f"{by}: {block['reference']} - row"] if block["reference"] else []
    head += ["clearly above / below", "n", "seeds", "seconds", "kind"]
    rows = [_line(content, block, row) for row in block["rows"]]
    return [_join(head), _join(["---"] * len(head)), *map(_join, rows)]


def _join(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _line(content: Tree, block: Tree, row: Tree) -> list[str]:
    cells = [row["title"]]
    for metric in content["metrics"]:
        cell = row["cells"][metric["key"]]
        if content["paper_prints_numbers"]:
            cells.append(cell["paper"]["shown"])
        cells.append(row["status"] if cell["ours"] is None else with_interval(cell["ours"]))
    if block["reference"]:
        gap = (row.get("difference") or {}).get(content["ranking"])
        cells.append("-" if gap is None else with_interval(gap, signed=True))
    order = f"{row['clearly_above']} / {row['clearly_below']}" if "clearly_above" in row else "-"
    seconds = None if row["seconds"] is None else f"{row['seconds']:.1f}"
    counts = (row["n"], len(row["seeds"]), seconds)
    return [*cells, order, *("-" if number is None else str(number) for number in counts), row["kind"]]


def with_interval(entry: Tree, signed: bool = False) -> str:
    """Returns a value in percent with its interval as text.

    >>> with_interval({"value": 1.5, "low": -0.25, "high": 3.0}, signed=True)
    '+1.50 [-0.25, +3.00]'
    """
    if entry["value"] is None:
        return "undefined"
    form = "+.2f" if signed else ".2f"
    return f"{entry['value']:{form}} [{entry['low']:{form}}, {entry['high']:{form}}]"


def _answers(content: Tree, block: Tree) -> list[str]:
    """What the differences say: each question of the experiment, and the reference against every row."""
    lines = ["", f"### What the differences say ({block['title']})", ""]
    asked = [_answer(content, contrast) for contrast in block["contrasts"]]
    lines += [f"- {text}" for text in asked]
    if block["reference"]:
        lines += [f"- {text}" for text in _against_all(content, block)]
    lines.append(
        "- Differences are paired: same images, same seeds. Rows whose intervals overlap are not put in an "
        "order; 'clearly above / below' counts the rows whose intervals lie wholly below / above. Each "
        "interval is at its own level, not corrected for how many there are."
    )
    return lines


def _answer(content: Tree, contrast: Tree) -> str:
    question = f"{contrast['question']} ({contrast['first']} - {contrast['second']})"
    if contrast["difference"] is None:
        return f"{question}: not run."
    parts = [
        f"{metric['title']} {with_interval(entry, signed=True)}, {entry['verdict']}"
        for metric in content["metrics"]
        if (entry := contrast["difference"][metric["key"]])
    ]
    return f"{question}: {'; '.join(parts)}."


def _against_all(content: Tree, block: Tree) -> list[str]:
    """Where the reference beats the rows in the ranking metric, and where it does not, by how much."""
    metric, reference = content["ranking"], block["reference"]
    found: dict[str, list[str]] = {"higher": [], "not told apart": [], "lower": []}
    for row in block["rows"]:
        gap = (row.get("difference") or {}).get(metric)
        if gap is not None and gap["verdict"] in found:
            found[gap["verdict"]].append(f"{row['title']} ({with_interval(gap, signed=True)})")
    words = {
        "higher": f"{reference} beats",
        "not told apart": f"{reference} is not told apart from",
        "lower": f"{reference} is beaten by",
    }
    title = next(m["title"] for m in content["metrics"] if m["key"] == metric)
    return [f"In {title}, {words[kind]}: {', '.join(rows) or 'none'}." for kind, rows in found.items()]


def _paper_notes(content: Tree) -> list[str]:
    """Where the paper's values come from, and why others are absent; each reason once."""
    if not content["paper_prints_numbers"]:
        return ["The paper's figure prints no numbers: all numbers here are ours."]
    sources: dict[str, None] = {}
    for block in content["blocks"]:
        for row in block["rows"]:
            for cell in row["cells"].values():
                paper = cell["paper"]
                text = paper.get("source")
                words = f"The paper's numbers: {text}." if text else f"'{paper['shown']}': {paper['reason']}."
                sources[words] = None
    return list(sources)
