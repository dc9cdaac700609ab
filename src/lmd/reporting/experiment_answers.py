"""What the differences of a reproduced table say in words; of who is ahead only where that may be said."""

from __future__ import annotations

from lmd.settings import Tree

_AHEAD = {
    "higher": "{reference} is ahead of",
    "not told apart": "{reference} is not told apart from",
    "lower": "{reference} is behind",
}


def title_of(content: Tree, metric: str) -> str:
    """Returns the title of a metric's column."""
    return next(m["title"] for m in content["metrics"] if m["key"] == metric)


def with_interval(entry: Tree, signed: bool = False) -> str:
    """Returns a value in percent with its interval as text.

    >>> with_interval({"value": 1.5, "low": -0.25, "high": 3.0}, signed=True)
    '+1.50 [-0.25, +3.00]'
    """
    if entry["value"] is None:
        return "undefined"
    form = "+.2f" if signed else ".2f"
    if entry["low"] is None or entry["high"] is None:
        return f"{entry['value']:{form}} (no interval)"
    return f"{entry['value']:{form}} [{entry['low']:{form}}, {entry['high']:{form}}]"


def answers(content: Tree, block: Tree) -> list[str]:
    """Returns what the differences say: each question of the experiment, and the reference against all."""
    lines = ["", f"### What the differences say ({block['title']})", ""]
    lines += [f"- {_answer(content, contrast)}" for contrast in block["contrasts"]]
    if block["reference"]:
        lines += [f"- {text}" for text in _against_all(content, block)]
    order = (
        "Rows whose intervals overlap are not put in an order; 'clearly above / below' counts the rows whose "
        "intervals lie wholly below / above. "
    )
    shown = order if any("clearly_above" in row for row in block["rows"]) else ""
    return [
        *lines,
        f"- Differences are paired: same images, same seeds. {shown}Each interval is at its own level, not "
        "corrected for how many there are.",
    ]


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
    """Where the reference is ahead of rows in the ranking metric and where not, or why that is not said."""
    metric, reference = content["ranking"], block["reference"]
    found: dict[str, list[str]] = {kind: [] for kind in _AHEAD}
    reasons: dict[str, None] = {}
    for row in block["rows"]:
        gap = (row.get("difference") or {}).get(metric)
        if gap is None:
            continue
        if gap["verdict"] in found:
            found[gap["verdict"]].append(f"{row['title']} ({with_interval(gap, signed=True)})")
        else:
            reasons[gap["verdict"]] = None
    title = title_of(content, metric)
    said = [
        f"In {title}, {words.format(reference=reference)}: {', '.join(found[kind]) or 'none'}."
        for kind, words in _AHEAD.items()
    ]
    unsaid = [f"In {title}, it is not said whether {reference} is ahead of a row ({'; '.join(reasons)})."]
    return [*(said if any(found.values()) else []), *(unsaid if reasons else [])]
