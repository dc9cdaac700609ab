"""The content of a table: every cell with the paper's value, ours, the interval, n, seeds and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lmd.evaluation.intervals.score import LEVEL
from lmd.experiments import heading
from lmd.experiments.base import KINDS, Block, Contrast, Experiment, Row
from lmd.experiments.caveats import caveats
from lmd.experiments.costs import Sources, find_sources, seconds_of
from lmd.experiments.given import Given
from lmd.experiments.judged import images_of, verdict, why_not
from lmd.experiments.measure import Samples, Trial, difference, measure, pooled, summary
from lmd.experiments.notes import about_data, all_notes
from lmd.experiments.projection import project
from lmd.experiments.request import Job
from lmd.experiments.reuse import ImageFiles, is_tested
from lmd.experiments.rule import ruled_cases, tau_of
from lmd.experiments.runs import Run
from lmd.settings import Tree
from lmd.version import __version__


class _Measured(NamedTuple):
    """What there is of a block: its tested runs, what each row measured and on how many images."""

    runs: list[Run]
    samples: dict[str, Samples]
    images: dict[str, int]  # Behind each metric.
    failures: dict[str, str]
    sources: Sources


def collect(job: Job, runs: Sequence[Run], failures: dict[str, str]) -> Tree:
    """Returns all that the files of an experiment say, as one tree for JSON."""
    experiment = job.experiment
    images = ImageFiles()
    tested = [run for run in runs if is_tested(run, images)]
    sources = find_sources(tested)
    points: Tree = {}
    blocks: list[Tree] = []
    for block in experiment.blocks:
        here = [run for run in tested if run.block == block.key]
        given = job.data.get(block.key)
        samples = {row.key: _samples(here, row, given, job.request.tau) for row in job.rows}
        if experiment.points is not None and here:
            points = project(experiment, here, samples)
        images = {} if given is None else images_of(experiment, given)
        blocks.append(_block(job, block, _Measured(here, samples, images, failures, sources)))
    return {
        "format": 1,
        "lmd": __version__,
        "experiment": experiment.name,
        "title": heading.title(job),
        "caveats": caveats(job),
        "paper_data": experiment.paper.data or None,
        "paper_prints_numbers": experiment.paper.is_table,
        "budget": job.request.budget,
        "tau": job.request.tau,
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


def _samples(runs: Sequence[Run], row: Row, given: Given | None, rule: str) -> Samples:
    """What a row measured, by trial; a trial counts once all its folds are tested."""
    found: Samples = {}
    mine = {(run.seed, run.part): run for run in runs if run.row == row}
    if given is None:
        return found
    info = given.first.info
    for seed in dict.fromkeys(seed for seed, _ in mine):
        for repeat, names in given.rounds.items():
            parts = {name: mine[seed, name] for name in names if (seed, name) in mine}
            if len(parts) == len(names):
                cases = pooled({name: ruled_cases(run, rule) for name, run in parts.items()})
                found[Trial(seed, repeat)] = measure(cases, info.classes, info.bands)
    return found


def _block(job: Job, block: Block, measured: _Measured) -> Tree:
    """One data set's columns: the rows, and the differences between them."""
    experiment, given = job.experiment, job.data.get(block.key)
    reference = next((row for row in job.rows if row.reference), None)
    rows = [_row(job, block, row, measured) for row in job.rows]
    _order(rows, experiment.ranking)
    if reference is not None:
        for row, content in zip(job.rows, rows, strict=True):
            content["difference"] = _differences(experiment, measured, reference.key, row.key)
    return {
        "key": block.key,
        "title": heading.block_title(job, block),
        "data": None if given is None else about_data(given, block),
        "shows_paper": heading.theirs(job, block),
        "reference": None if reference is None else reference.key,
        "rows": rows,
        "contrasts": [_contrast(experiment, contrast, measured) for contrast in experiment.contrasts],
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
            "paper": heading.printed(job, block, experiment.printed(row, block.key, metric.key)),
            "ours": _with_images(summary(mine, metric.key), metric.key, measured) if mine else None,
        }
        for metric in experiment.metrics
    }
    begun_by = [measured.sources.get(run.folder.path) for run in own]
    seconds = [seconds_of(run, source) for run, source in zip(own, begun_by, strict=True)]
    seeds = sorted({trial.seed for trial in mine})
    return {
        "key": row.key,
        "title": row.title,
        "method": row.method,
        "settings": row.settings,
        "kind": KINDS[row.kind],
        "place": row.place,
        "status": status,
        "n": int(job.data[block.key].test_counts.sum()) if mine else None,
        "seeds": seeds,
        "tau": [tau_of(run, job.request.tau) for run in own],
        "cells": cells,
        "seconds": round(sum(seconds) / len({run.seed for run in own}), 3) if own else None,
        "stage1_from": sorted({source.row.key for source in begun_by if source is not None}),
    }


def _with_images(entry: Tree, metric: str, measured: _Measured) -> Tree:
    """An estimate with the number of test images behind it."""
    return entry | {"images": measured.images[metric]}


def _order(rows: list[Tree], metric: str) -> None:
    """Counts for each row the rows whose intervals lie wholly below, and wholly above, its own.

    Rows whose intervals overlap are not put in an order; nor are rows of one seed or of few images.
    """
    judged = [row for row in rows if row["status"] == "run" and _may_be_ordered(row["cells"][metric]["ours"])]
    for row in judged:
        mine = row["cells"][metric]["ours"]
        others = [other["cells"][metric]["ours"] for other in judged if other is not row]
        row["clearly_above"] = sum(other["high"] < mine["low"] for other in others)
        row["clearly_below"] = sum(other["low"] > mine["high"] for other in others)
        row["compared_with"] = len(others)


def _may_be_ordered(entry: Tree) -> bool:
    return None not in (entry["value"], entry["low"], entry["high"]) and why_not(entry) is None


def _differences(experiment: Experiment, measured: _Measured, first: str, second: str) -> Tree | None:
    """The reference minus a row, in every metric; None where one of them was not run."""
    samples = measured.samples
    if first == second or not samples[first] or not samples[second]:
        return None
    found = {m.key: difference(samples[first], samples[second], m.key) for m in experiment.metrics}
    judged = {key: _judged(entry, key, measured) for key, entry in found.items() if entry is not None}
    return judged if len(judged) == len(found) else None


def _judged(entry: Tree, metric: str, measured: _Measured) -> Tree:
    entry = _with_images(entry, metric, measured)
    return entry | {"verdict": verdict(entry)}


def _contrast(experiment: Experiment, contrast: Contrast, measured: _Measured) -> Tree:
    both = contrast.first in measured.samples and contrast.second in measured.samples
    answer = _differences(experiment, measured, contrast.first, contrast.second) if both else None
    return {**vars(contrast), "difference": answer}


def _interval(runs: Sequence[Run]) -> Tree:
    by_group = False
    for run in runs:
        groups = run.dataset.split("test")["group"]
        by_group = by_group or bool(groups.duplicated().any())
    return {
        "level": LEVEL,
        "clustered": by_group,
        "method": "score intervals from the variance over test images and over trainings, docs/statistics.md",
    }
