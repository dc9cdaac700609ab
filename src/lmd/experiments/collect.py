"""The content of a table: every cell with the paper's value, ours, the interval, n, seeds and seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lmd import __version__
from lmd.evaluation.evaluate import DRAWS, LEVEL
from lmd.experiments.base import KINDS, Block, Contrast, Experiment, Row
from lmd.experiments.measure import Samples, difference, measure, read_cases, summary, verdict
from lmd.experiments.projection import project
from lmd.experiments.request import Job, imbalance
from lmd.experiments.runs import Run, applicable, sha256_of
from lmd.run import read_identity
from lmd.settings import Tree

# By the folder of a run that took its first stage over: the run that trained it.
Sources = dict[Path, Run]


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
    sources = _sources(tested)
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
        "paper_data": experiment.data,
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
        "notes": [*_notes(job, tested, sources), *experiment.notes],
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
        "data": None if dataset is None else _data_words(job, block),
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
            "paper": experiment.values.cell(row, block.key, metric.key),
            "ours": summary(mine, metric.key) if mine else None,
        }
        for metric in experiment.metrics
    }
    begun_by = [measured.sources.get(run.folder.path) for run in own]
    seconds = [_seconds(run, source) for run, source in zip(own, begun_by, strict=True)]
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


def _seconds(run: Run, source: Run | None) -> float:
    """What a run costs, both stages: a first stage taken over counts with what it cost there."""
    spent = sum(record["seconds"] for record in _history(run))
    if source is None:
        return spent
    history = _history(source)
    first = history[0]["stage"]
    return spent + sum(record["seconds"] for record in history if record["stage"] == first)


def _history(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.folder.metrics.read_text(encoding="utf-8").splitlines()]


def _sources(runs: Sequence[Run]) -> Sources:
    """The runs that trained the first stages which others took over; each file is read once."""
    began_with = {run.folder.path: read_identity(run.folder)["from_sha256"] for run in runs}
    if not any(began_with.values()):
        return {}
    trained: dict[tuple[str, str], Run] = {}
    for run in runs:
        if began_with[run.folder.path] is None:
            trained.setdefault((run.block, sha256_of(run.folder.stage1)), run)
    wanted = {run.folder.path: (run.block, began_with[run.folder.path]) for run in runs}
    return {path: trained[key] for path, key in wanted.items() if key in trained}


def _data_words(job: Job, block: Block) -> Tree:
    """What the data set is, and whether it is the paper's."""
    dataset = job.datasets[block.key]
    counts = dataset.counts("train")
    same = bool(block.counts) and sorted(counts.tolist()) == sorted(block.counts)
    info = dataset.info
    return {
        "title": info.title,
        "source": info.source,
        "manifest_sha256": info.manifest_sha256,
        "classes": len(dataset.classes),
        "train": int(counts.sum()),
        "test": int(dataset.counts("test").sum()),
        "imbalance": round(imbalance(dataset), 1),
        "groups_rule": info.bands_rule,
        "has_the_papers_counts": same if block.counts else None,
    }


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


def _notes(job: Job, runs: Sequence[Run], sources: Sources) -> list[str]:
    """What a reader has to know of these very numbers."""
    notes = [f"Budget '{job.request.budget}', seeds {', '.join(map(str, job.seeds))}."]
    if job.request.budget != "paper":
        notes.append(
            "This is not the paper's schedule: the paper's numbers stand beside ours for orientation."
        )
    if len(job.seeds) == 1:
        notes.append(
            "One seed: the intervals are over test cases alone and leave out the spread of trainings."
        )
    notes += [note for block in job.experiment.blocks if (note := _block_note(job, block))]
    notes += _override_notes(job)
    notes += _hardware(runs)
    notes += _sharing(runs, sources)
    return notes


def _block_note(job: Job, block: Block) -> str | None:
    if block.key not in job.datasets:
        return f"{block.title}: no data set was named for these columns."
    words = _data_words(job, block)
    text = (
        f"{block.title}: {words['title']}, {words['classes']} classes, {words['train']} training and "
        f"{words['test']} test images, imbalance {words['imbalance']}."
    )
    if words["has_the_papers_counts"]:
        return f"{text} Its training counts are the paper's."
    beside = "its numbers stand beside ours for orientation"
    return f"{text} This is not known to be the paper's data set ({job.experiment.data}); {beside}."


def _override_notes(job: Job) -> list[str]:
    notes: list[str] = []
    for text in job.request.overrides:
        rows = [row.key for row in job.rows if applicable(row, [text])]
        where = "every row" if len(rows) == len(job.rows) else ", ".join(rows)
        notes.append(f"--set {text} holds for {where}.")
    return notes


def _hardware(runs: Sequence[Run]) -> list[str]:
    machines: set[str] = set()
    for run in runs:
        found = json.loads((run.folder.path / "environment.json").read_text(encoding="utf-8"))
        device = found["gpu"] or f"{found['cpu']}, {found['threads']} threads"
        machines.add(f"{device}, {found['precision']}, torch {found['packages']['torch']}")
    if len(machines) > 1:
        return [f"Trained on different machines or settings of one, so that seconds do not compare: "
                f"{'; '.join(sorted(machines))}."]  # fmt: skip
    return [f"Trained on {machine}." for machine in machines]


def _sharing(runs: Sequence[Run], sources: Sources) -> list[str]:
    """Which rows took their first stage from which; seconds include it in all of them."""
    taken: dict[str, list[str]] = {}
    for run in runs:
        source = sources.get(run.folder.path)
        if source is not None and run.row.key not in taken.setdefault(source.row.key, []):
            taken[source.row.key].append(run.row.key)
    rule = (
        "stage 1 was trained once where it would come out the same (same stage, settings, data, seed and "
        "weights); seconds count it for every row that uses it"
    )
    return [f"From {source}: {', '.join(rows)} ({rule})." for source, rows in taken.items()]
