"""The notes of an experiment's page: what a reader has to know of these very numbers."""

from __future__ import annotations

from collections.abc import Sequence

from lmd.data.dataset.manifest import Dataset
from lmd.experiments.base import Block, Experiment
from lmd.experiments.costs import Sources
from lmd.experiments.given import Given, shown_classes
from lmd.experiments.request import Job
from lmd.experiments.rule import WORDS
from lmd.experiments.runs import Run, applicable
from lmd.experiments.sameness import sameness_notes
from lmd.records import read_environment
from lmd.settings import Tree

_RULES = {"largest": "the class of each band with most test images", "tail": "all classes of the tail"}


def all_notes(job: Job, runs: Sequence[Run], sources: Sources) -> list[str]:
    """Returns the notes on seeds, data, settings, machines, shared stages and equal rows; see `caveats`."""
    return [
        *_schedule(job),
        WORDS[job.request.tau],
        *(_block_note(job, block) for block in job.experiment.blocks),
        *_class_notes(job),
        *_override_notes(job),
        *_hardware(runs),
        *_sharing(runs, sources),
        *sameness_notes(job, runs),
    ]


def _schedule(job: Job) -> list[str]:
    return [f"Budget '{job.request.budget}', seeds {', '.join(map(str, job.seeds))}."]


def about_data(given: Given, block: Block) -> Tree:
    """Returns what a data set is, and whether it is the paper's: null where the paper's is not known."""
    info = given.first.info
    return {
        "title": info.title,
        "source": info.source,
        "manifest_sha256": given.manifest_sha256,
        "folds": len(given.parts) if given.folded else None,
        "classes": len(info.classes),
        "train": int(given.train_counts.sum()),
        "test": int(given.test_counts.sum()),
        "imbalance": round(given.imbalance, 1),
        "groups_rule": info.bands_rule,
        "has_the_papers_counts": given.is_the_papers(block),
    }


def _block_note(job: Job, block: Block) -> str:
    if block.key not in job.data:
        return f"{block.title}: no data set was named for these columns."
    words = about_data(job.data[block.key], block)
    return (
        f"{block.title}: {words['title']}, {words['classes']} classes, {_number(words)}, imbalance "
        f"{words['imbalance']}. {_whose(job.experiment, words['has_the_papers_counts'])}"
    )


def _number(words: Tree) -> str:
    """The images of a data set in words; of folds each image is tested by the model that did not see it."""
    if words["folds"] is None:
        return f"{words['train']} training and {words['test']} test images"
    return (
        f"{words['folds']} folds with {words['train']} training images in the first, {words['test']} images "
        "tested, each by a model that was not trained on it"
    )


def _whose(experiment: Experiment, same: bool | None) -> str:
    """Says whether the data are the paper's."""
    paper = experiment.paper
    if same is None:
        return f"The paper does not state the data set of {paper.label.lower()}."
    if same:
        return "Its training counts are the paper's."
    return f"This is not known to be the paper's data set ({paper.data})."


def _class_notes(job: Job) -> list[str]:
    """Which classes a projection shows, and why where they are not those of the paper's figure."""
    if job.experiment.points is None:
        return []
    return [_class_note(job.experiment, given.first) for given in job.data.values()]


def _class_note(experiment: Experiment, dataset: Dataset) -> str:
    wanted = experiment.paper.classes
    lacking = [name for name in wanted if name not in dataset.classes]
    rule = "shown are those with test images"
    if lacking and experiment.points is not None:
        rule = f"this data set has no {', '.join(lacking)}, so that it shows {_RULES[experiment.points]}"
    shown = ", ".join(shown_classes(experiment, dataset))
    return f"The paper shows the classes {', '.join(wanted)}; {rule}: {shown}."


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
        found = read_environment(run.folder.path)
        device = found.get("gpu") or f"{found.get('cpu')}, {found.get('threads')} threads"
        packages = found.get("packages")
        torch = packages.get("torch") if isinstance(packages, dict) else None
        machines.add(f"{device}, {found.get('precision')}, torch {torch}")
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
