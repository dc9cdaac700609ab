"""docs/results.md, 128 pixels, against the runs: its table is recomputed, and no number is unsupported."""

from __future__ import annotations

import csv
import math
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
SWEEP = ROOT / "benchmarks" / "results" / "gpu-sweep-isic2019-128"
SEEDS = ("42", "43", "44")
TAIL = ("AK", "VASC", "DF")

# The page's rows and what they are called in runs.csv.
ROWS = {
    "RRL + logit adjustment": "lmd-paper+la",
    "CC-SAM": "cc-sam",
    "LMD (RRL + ICC)": "lmd-paper",
    "RRL + exact ICC, no E-step": "lmd-paper+exact-ridge",
    "RRL + cRT": "lmd-paper+crt",
    "CB-Focal": "cb-focal",
    "CE + logit adjustment": "lmd-wo-rrl+la",
    "CE + exact ICC, no E-step": "lmd-wo-rrl+exact-ridge",
    "LMD w/o RRL (CE + ICC)": "lmd-wo-rrl",
    "Balanced Softmax": "balanced-softmax",
    "CE (one seed)": "ce",
    "CE + cRT": "lmd-wo-rrl+crt",
    "RS": "rs",
}

Run = dict[str, str]


def table(name: str) -> list[Run]:
    with (SWEEP / name).open() as file:
        return list(csv.DictReader(file))


RUNS = {(run["row"], run["seed"]): run for run in table("runs.csv")}


def images(split: str) -> dict[str, int]:
    return {row["class"]: int(row["images"]) for row in table("images.csv") if row["split"] == split}


def values(row: str, column: str) -> list[float]:
    """A column's values over the seeds of a row."""
    return [float(RUNS[row, seed][column]) for seed in SEEDS if (row, seed) in RUNS]


def mean(row: str, column: str) -> float:
    return statistics.mean(values(row, column))


def spread(row: str) -> float:
    scores = values(row, "test_bacc")
    return statistics.stdev(scores) if len(scores) > 1 else 0.0


def interval(row: str) -> tuple[float, float]:
    """The mean +- 1.96 sqrt(v), v = sd^2 / S + sum_k p_k (1 - p_k) / n_k / K^2, as the page of the runs says."""
    counts = images("test")
    recalls = {name: mean(row, f"test_{name}") for name in counts}
    of_images = sum(p * (1 - p) / counts[name] for name, p in recalls.items()) / len(counts) ** 2
    half = 1.96 * math.sqrt(spread(row) ** 2 / len(values(row, "test_bacc")) + of_images)
    return mean(row, "test_bacc") - half, mean(row, "test_bacc") + half


def differences(first: str, second: str, column: str = "test_bacc") -> list[float]:
    """Points of a column, seed by seed."""
    return [100 * (a - b) for a, b in zip(values(first, column), values(second, column), strict=True)]


def metric(number: float) -> str:
    return f"{number:.3f}".lstrip("0")


def rows_of(page: Path, header: str) -> list[list[str]]:
    """The cells of the table whose header starts as given, without bold and backticks."""
    lines = page.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(header)) + 2
    stop = next(i for i in range(start, len(lines) + 1) if i == len(lines) or not lines[i].startswith("|"))
    return [
        [re.sub(r"[*`]", "", cell).strip() for cell in line.strip("|").split("|")]
        for line in lines[start:stop]
    ]


# The runs.


@pytest.mark.parametrize(("split", "total"), [("val", 1005), ("test", 2005), ("external", 1512)])
def test_recalls_are_whole_images_and_make_the_balanced_accuracy(split: str, total: int) -> None:
    counts = images(split)
    assert sum(counts.values()) == total
    for run in RUNS.values():
        recalls = {name: float(run[f"{split}_{name}"]) for name in counts}
        hits = [recalls[name] * count for name, count in counts.items()]
        assert hits == pytest.approx([round(hit) for hit in hits], abs=1e-3)
        assert statistics.mean(recalls.values()) == pytest.approx(float(run[f"{split}_bacc"]), abs=2e-6)


def test_every_row_has_its_seeds() -> None:
    rows = {row for row, _ in RUNS}
    assert {(row, seed) for row in rows - {"ce"} for seed in SEEDS} | {("ce", "42")} == set(RUNS)
    assert len(RUNS) == 67


# The table.


def test_the_table_is_recomputed() -> None:
    found = rows_of(PAGE, "| method |")
    assert [cells[0] for cells in found] == sorted(ROWS, key=lambda name: -mean(ROWS[name], "test_bacc"))
    for name, _, *cells in found:
        row = ROWS[name]
        low, high = interval(row)
        assert cells == [
            metric(mean(row, "test_bacc")),
            metric(spread(row)) if spread(row) else "-",
            f"[{metric(low)}, {metric(high)}]",
            metric(mean(row, "external_bacc")),
            metric(mean(row, "test_auc")),
            metric(statistics.mean(mean(row, f"test_{name}") for name in TAIL)),
        ], name


def test_the_differences_of_the_runs_page_are_recomputed() -> None:
    stated = {(row["first"], row["second"]): row for row in table("differences.csv")}
    found = rows_of(SWEEP / "README.md", "| difference |")
    assert len(found) > len(stated)
    for name, *cells in found:
        first, second = name.split(" - ")
        by_seed = differences(first, second)
        known = stated.pop((first, second), None)
        assert cells == [
            f"{statistics.mean(by_seed):+.1f}",
            f"[{known['low']}, {known['high']}]" if known else "not computed",
            *[f"{points:+.1f}" for points in by_seed],
            f"{statistics.mean(differences(first, second, 'external_bacc')):+.1f}",
        ], name
        assert not known or f"{statistics.mean(by_seed):.1f}" == known["points"]
    assert not stated


def test_the_shifted_values_of_the_runs_page_are_those_of_its_file() -> None:
    assert rows_of(SWEEP / "README.md", "| row | tau |") == [
        list(row.values()) for row in table("shifted.csv")
    ]


# The sentences.


def numbers(text: str) -> set[str]:
    """The decimal numbers of a text outside its code, its tables and the targets of its links."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    return set(re.findall(r"(?<![\w.])-?\d*\.\d+(?![\w.]*\d)", text))


# Numbers that are no result of these runs, and the file where each stands.
ELSEWHERE = {
    "58.7": "benchmarks/results/gpu-sweep-isic2019-128/README.md",
    ".999": "benchmarks/results/gpu-sweep-isic2019-128/README.md",
    ".1": "benchmarks/results/gpu-sweep-isic2019-128/README.md",
    ".75": "benchmarks/results/gpu-sweep-isic2019-128/shifted.csv",
    "24.3": "benchmarks/results/gpu-sweep-isic2019-128/README.md",
    "9.8": "benchmarks/results/gpu-sweep-isic2019-128/README.md",
    ".527": "docs/log.md",
    ".635": "docs/log.md",
}


def supported() -> set[str]:
    """Every number that the runs and their notes support, as the page writes it."""
    known = {text for row in table("differences.csv") for text in (row["points"], row["low"], row["high"])}
    known |= {row[column] for row in table("shifted.csv") for column in ("test_bacc", "external_bacc")}
    for row in {row for row, _ in RUNS}:
        known |= {metric(mean(row, column)) for column in ("test_bacc", "external_bacc", "test_auc")}
        known.add(metric(spread(row)))
    for second in ("", "+la", "+crt"):
        for column in ("test_bacc", "external_bacc"):
            gain = differences("lmd-paper" + second, "lmd-wo-rrl" + second, column)
            known.add(f"{statistics.mean(gain):.1f}")
    return known


def test_every_number_in_a_sentence_is_supported() -> None:
    text = PAGE.read_text().partition("## Sixty epochs at 128 pixels")[2]
    derived = {
        "1.3": -statistics.mean(differences("lmd-paper", "lmd-paper+la")),
        "0.7": -statistics.mean(differences("lmd-paper", "cc-sam")),
        "2.5": 24.3 / 9.8,
        "5.4": 70.75 - 65.36,  # LMD and CC-SAM in table 3 of the paper, r = 100
    }
    assert {text: f"{value:.1f}" for text, value in derived.items()} == {text: text for text in derived}
    for number, file in ELSEWHERE.items():
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", (ROOT / file).read_text()), number
    assert numbers(text) - supported() - set(derived) - set(ELSEWHERE) == set()


def test_what_the_sentences_say_of_the_runs() -> None:
    for second in ("", "+la", "+crt", "+exact-ridge"):
        assert min(differences("lmd-paper" + second, "lmd-wo-rrl" + second)) > 0
    external = [
        statistics.mean(differences("lmd-paper" + second, "lmd-wo-rrl" + second, "external_bacc"))
        for second in ("", "+la", "+crt")
    ]
    assert [f"{min(external):.1f}", f"{max(external):.1f}"] == ["4.3", "6.6"]
    assert max(differences("lmd-paper", "lmd-paper+la")) < 0
    after = [mean("lmd-paper" + second, "test_bacc") for second in ("", "+la", "+crt", "+exact-ridge")]
    assert f"{100 * (max(after) - min(after)):.1f}" == "2.5"
    by_auc = sorted(ROWS.values(), key=lambda row: -mean(row, "test_auc"))
    assert by_auc[:2] == ["lmd-paper+exact-ridge", "ce"]


def test_an_unsupported_number_is_found() -> None:
    text = "It is .123 [-4.5, 6.7] (`0.8`), see [x](y.9.md), at 12 epochs.\n| .321 |\n```\n.11\n```\ntorch 2.11.0"
    assert numbers(text) == {".123", "-4.5", "6.7"}
