"""Whose data an experiment is on: its title, those of its blocks, and whether the paper's numbers belong."""

from __future__ import annotations

from lmd.experiments.base import Block, absent
from lmd.experiments.request import Job
from lmd.settings import Tree


def theirs(job: Job, block: Block) -> bool:
    """Says whether a block is on the paper's data, so that the paper's numbers may stand beside ours.

    A block that no data were named for is the paper's where all others are.
    """
    given = job.data.get(block.key)
    if given is None:
        return all_theirs(job)
    return given.is_the_papers(block) is True


def all_theirs(job: Job) -> bool:
    """Says whether all data that were named are the paper's."""
    return all(
        job.data[block.key].is_the_papers(block) is True
        for block in job.experiment.blocks
        if block.key in job.data
    )


def title(job: Job) -> str:
    """Returns the title of the page: that of the paper on the paper's data, else that of the data."""
    experiment = job.experiment
    if all_theirs(job):
        return experiment.title
    names = dict.fromkeys(given.first.info.title for given in job.data.values())
    return f"{' and '.join(names)}, in the form of the paper's {experiment.paper.label.lower()}"


def block_title(job: Job, block: Block) -> str:
    """Returns the title of some columns: the paper's on the paper's data, else that of the data."""
    if theirs(job, block) or block.key not in job.data:
        return block.title
    own = job.data[block.key].first.info.title
    return own if len(job.experiment.blocks) == 1 else f"{own} (in the place of {block.title})"


def printed(job: Job, block: Block, row_printed: Tree) -> Tree:
    """Returns what stands in the paper's cell: on other data than the paper's, that it is not shown."""
    if row_printed["value"] is None or theirs(job, block):
        return row_printed
    paper = job.experiment.paper
    return absent(
        "not shown", f"the paper's {paper.label.lower()} is of {paper.data}, and these are other data"
    )
