"""The content of a table: every cell with the paper's value, ours, the interval, n, seeds and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lmd.evaluation.evaluate import DRAWS, LEVEL
from lmd.experiments.base import KINDS, Block, Contrast, Experiment, Row
from lmd.experiments.costs import Sources, find_sources, seconds_of
from lmd.experiments.measure import Samples, difference, measure, read_cases, summary, verdict
from lmd.experiments.notes import about_data, all_notes
from lmd.experiments.projection import project
from lmd.experiments.request import Job
from lmd.experiments.runs import Run
from lmd.settings import Tree
from lmd.version import __version__


class _Measured(NamedTuple):
    """What there is of a block: its tested runs, what each row measured, and what failed."""

    runs: list[Run]
    samples: dict[str, Samples]
    failures: dict[str, str]
    sources: Sources


def collect(job: Job, runs: Sequence[Run], failures: dict[str, str]) -> Tree:
    """Returns all that the files of an experiment say, as one tree for JSON."""
    experiment = job.experiment
    tested = [run for run in runs if run.finished and run.folder.evaluation("test").is_file()]
    sources = find_sources(tested)
    points: Tree = {}
    blocks: list[Tree] = []
    for block in experiment.blocks:
        here = [run for run in tested if run.block == block.key]
        samples = {row.key: _samples(here, row) for row in job.rows}
        if experiment.points is not None and here:
            points = project(experiment, here, samples)
        blocks.append(_block(job, block, _Measured(here, samples, failures, sources)))
    return {
        "format": 1,
        "lmd": __version__,
        "experiment": experiment.name,
        "title": experiment.title,
        "paper_data": experiment.paper.data or None,
        "paper_prints_numbers": experiment.paper.is_table,
        "budget": job.request.budget,
        "seeds": job.seeds,
        "settings": list(job.request.overrides),
        "weights": job.request.weights,
        "metrics": [{"key": metric.key, "title": metric.title} for metric in experiment.metrics],
        "ranking": experiment.ranking,
        "axis": None if experiment.axis is None else vars(experiment.axis),
        "blocks": blocks,
        "points": points,
        "interval": _interval(tested),
        "notes": [*all_notes(job, tested, sources), *experiment.notes],
    }


def _samples(runs: Sequence[Run], row: Row) -> Samples:
    found: Samples = {}
    for run in runs:
        if run.row == row:
            cases = read_cases(run.folder.predictions("test"), run.dataset)
            found[run.seed] = measure(cases, run.dataset.classes, run.dataset.info.bands)
    return found


def _block(job: Job, block: Block, measured: _Measured) -> Tree:
    """One data set's columns: the rows, and the differences between them."""
    experiment, dataset, samples = job.experiment, job.datasets.get(block.key), measured.samples
    reference = next((row for row in job.rows if row.reference), None)
    rows = [_row(job, block, row, measured) for row in job.rows]
    _order(rows, experiment.ranking)
    if reference is not None:
        for row, content in zip(job.rows, rows, strict=True):
            content["difference"] = _differences(experiment, samples, reference.key, row.key)
    return {
        "key": block.key,
        "title": block.title,
        "data": None if dataset is None else about_data(dataset, block),
        "reference": None if reference is None else reference.key,
        "rows": rows,
        "contrasts": [_contrast(experiment, contrast, samples) for contrast in experiment.contrasts],
    }


def _row(job: Job, block: Block, row: Row, measured: _Measured) -> Tree:
    experiment, mine = job.experiment, measured.samples[row.key]
    failed = [text for name, text in measured.failures.items() if name.startswith(f"{block.key}/{row.key}/")]
    if mine:
        status = "run"
    elif failed:
        status = f"failed: {failed[0]}"
    else:
        status = "not run"
    own = [run for run in measured.runs if run.row == row]
    cells = {
        metric.key: {
            "paper": experiment.printed(row, block.key, metric.key),
            "ours": summary(mine, metric.key) if mine else None,
        }
        for metric in experiment.metrics
    }
    begun_by = [measured.sources.get(run.folder.path) for run in own]
    seconds = [seconds_of(run, source) for run, source in zip(own, begun_by, strict=True)]
    return {
        "key": row.key,
        "title": row.title,
        "method": row.method,
        "settings": row.settings,
        "kind": KINDS[row.kind],
        "place": row.place,
        "status": status,
        "n": int(own[0].dataset.counts("test").sum()) if own else None,
        "seeds": sorted(mine),
        "cells": cells,
        "seconds": round(sum(seconds) / len(seconds), 3) if seconds else None,
        "stage1_from": sorted({source.row.key for source in begun_by if source is not None}),
    }


def _order(rows: list[Tree], metric: str) -> None:
    """Counts for each row the rows whose intervals lie wholly below, and wholly above, its own.

    Rows whose intervals overlap are not put in an order.
    """
    judged = [
        row for row in rows if row["status"] == "run" and row["cells"][metric]["ours"]["value"] is not None
    ]
    for row in judged:
        mine = row["cells"][metric]["ours"]
        others = [other["cells"][metric]["ours"] for other in judged if other is not row]
        row["clearly_above"] = sum(other["high"] < mine["low"] for other in others)
        row["clearly_below"] = sum(other["low"] > mine["high"] for other in others)
        row["compared_with"] = len(others)


def _differences(experiment: Experiment, samples: dict[str, Samples], first: str, second: str) -> Tree | None:
    """The reference minus a row, in every metric; None where one of them was not run."""
    if first == second or not samples[first] or not samples[second]:
        return None
    found = {m.key: difference(samples[first], samples[second], m.key) for m in experiment.metrics}
    return {key: _judged(entry) for key, entry in found.items()} if None not in found.values() else None


def _judged(entry: Tree | None) -> Tree | None:
    return None if entry is None else entry | {"verdict": verdict(entry)}


def _contrast(experiment: Experiment, contrast: Contrast, samples: dict[str, Samples]) -> Tree:
    both = contrast.first in samples and contrast.second in samples
    answer = _differences(experiment, samples, contrast.first, contrast.second) if both else None
    return {**vars(contrast), "difference": answer}


def _interval(runs: Sequence[Run]) -> Tree:
    by_group = False
    for run in runs:
        groups = run.dataset.split("test")["group"]
        by_group = by_group or bool(groups.duplicated().any())
    return {
        "level": LEVEL,
        "draws": DRAWS,
        "clustered": by_group,
        "method": "percentile bootstrap over seeds, then over test cases within their classes",
    }
