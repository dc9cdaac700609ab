"""Which rows cannot differ: those of the same answers, and those that differ in the classifier alone.

Both are read off the finished runs, whatever their methods promise: the predictions of the test images, and
the encoder in `model/stage1.safetensors` against that in `model/model.safetensors`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file

from lmd.experiments.measure import read_cases
from lmd.experiments.request import Job
from lmd.experiments.runs import Run, sha256_of
from lmd.run import RunFolder, stage1_of

# Probabilities that differ by no more are the same but for rounding (the files hold nine digits).
SAME_ANSWER = 1e-6
# An encoder that moved by no more, relative to its own length, is still that of stage 1.
SAME_ENCODER = 1e-6

# Of a row, by seed and fold: its probabilities; and the hash of its stage 1 with the movement since.
Training = tuple[int, str]
Answers = dict[Training, np.ndarray]
Moves = dict[Training, tuple[str, float]]
T = TypeVar("T")


def sameness_notes(job: Job, runs: Sequence[Run]) -> list[str]:
    """Returns a sentence for each group of rows that cannot differ, or only in the classifier."""
    several = len(job.experiment.blocks) > 1
    notes: list[str] = []
    for block in job.experiment.blocks:
        place = f"{block.title}: " if several else ""
        notes += [place + note for note in _block_notes(job, [run for run in runs if run.block == block.key])]
    return notes


def _block_notes(job: Job, runs: Sequence[Run]) -> list[str]:
    by_row = {row.key: [run for run in runs if run.row == row] for row in job.rows}
    answers = {key: _answers(mine) for key, mine in by_row.items()}
    moves = {key: _moves(mine) for key, mine in by_row.items()}
    return [
        *map(_answers_note, equal_groups(answers, same_answers)),
        *(_encoder_note(group, moves) for group in equal_groups(moves, same_encoders)),
    ]


def _answers_note(group: list[str]) -> str:
    return (
        f"{_and(group)} cannot differ: in every run they gave each test image the same probabilities, "
        f"to {SAME_ANSWER:g}."
    )


def _encoder_note(group: list[str], moves: dict[str, Moves]) -> str:
    furthest = max(moved for key in group for _, moved in moves[key].values())
    how = f"it moved by {furthest:.1g} of its length at most" if furthest else "it did not move at all"
    return (
        f"{_and(group)} can differ in the classifier alone: they share stage 1, and in every run stage 2 "
        f"left its encoder where it was ({how})."
    )


def _and(names: list[str]) -> str:
    """Joins names.

    >>> _and(["CE", "RS", "LMD"])
    'CE, RS and LMD'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}"


def equal_groups(entries: dict[str, T], equal: Callable[[T, T], bool]) -> list[list[str]]:
    """Returns the names of entries that equal the first of their group; a group has at least two.

    >>> equal_groups({"a": 1, "b": 2, "c": 1}, lambda first, second: first == second)
    [['a', 'c']]
    """
    groups: list[list[str]] = []
    for name, entry in entries.items():
        home = next((group for group in groups if equal(entries[group[0]], entry)), None)
        if home is None:
            groups.append([name])
        else:
            home.append(name)
    return [group for group in groups if len(group) > 1]


def same_answers(first: Answers, second: Answers) -> bool:
    """Says whether two rows have the same probabilities in each of the runs that both have."""
    shared = first.keys() & second.keys()
    return bool(shared) and all(
        np.allclose(first[seed], second[seed], rtol=0, atol=SAME_ANSWER) for seed in shared
    )


def same_encoders(first: Moves, second: Moves) -> bool:
    """Says whether two rows share stage 1, and neither moved its encoder, in each run that both have."""
    shared = first.keys() & second.keys()
    moved = [row[seed][1] for row in (first, second) for seed in shared]
    return bool(shared) and max(moved) <= SAME_ENCODER and all(first[s][0] == second[s][0] for s in shared)


def _answers(runs: Sequence[Run]) -> Answers:
    return {
        (run.seed, run.part): read_cases(run.folder.predictions("test"), run.dataset).probabilities
        for run in runs
    }


def _moves(runs: Sequence[Run]) -> Moves:
    """What a row's stage 2 did to the encoder; nothing for a method of one stage."""
    return {
        (run.seed, run.part): (sha256_of(run.folder.stage1), encoder_moved(run.folder))
        for run in runs
        if run.two_stages and run.folder.stage1.is_file()
    }


def encoder_moved(folder: RunFolder) -> float:
    """Returns how far stage 2 moved the encoder g, relative to its length.

        max over kinds of ||theta - theta_1|| / ||theta_1||

    The kinds are all parameters, and BatchNorm's running means and running variances, whose sizes differ
    much; theta is one of them in the final encoder, theta_1 as stage 1 handed it over.
    """
    before, after = stage1_of(folder)[1], load_file(folder.weights)
    names: dict[str, list[str]] = {}
    for name, value in before.items():
        if name.startswith("encoder.") and value.is_floating_point():
            names.setdefault(_kind(name), []).append(name)
    return max(_relative(_flat(before, some), _flat(after, some)) for some in names.values())


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last.startswith("running_") else "parameter"


def _flat(weights: dict[str, torch.Tensor], names: list[str]) -> torch.Tensor:
    return torch.cat([weights[name].double().flatten() for name in names])


def _relative(old: torch.Tensor, new: torch.Tensor) -> float:
    """||new - old|| / ||old||, 0 where nothing moved."""
    moved, length = float((new - old).norm()), float(old.norm())
    if not moved:
        return 0.0
    return moved / length if length else math.inf
