"""A checkpoint whose checksum fits, but that holds something else, is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmd.errors import CheckpointError
from lmd.files import save_tree
from lmd.run import RunFolder, stage1_of, upgraded
from lmd.training import checkpoint
from lmd.training.selection import Best

STATE = {"stage": 0, "epoch": 1, "best": vars(Best()), "history": []}
WHOLE = {
    "identity": {"settings": {}}, "classifier": "linear", "network": {}, "stage_state": None, "state": STATE,
}  # fmt: skip
WANTED = {"settings": upgraded({})}
OTHERS = [
    [],
    {},
    {**WHOLE, "identity": None},
    {**WHOLE, "identity": {}},
    {**WHOLE, "state": []},
    {**WHOLE, "state": {**STATE, "best": {"scores": 1}}},
    {name: value for name, value in WHOLE.items() if name != "network"},
    {name: value for name, value in WHOLE.items() if name != "stage_state"},
]


def folder_with(tmp_path: Path, tree: Any) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.checkpoint.parent.mkdir()
    save_tree(folder.checkpoint, tree)
    return folder


def test_the_whole_is_taken(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, WHOLE)
    saved = checkpoint.load(folder, WANTED)
    assert saved is not None
    assert checkpoint.state_of(saved).epoch == 1


@pytest.mark.parametrize("tree", OTHERS, ids=range(len(OTHERS)))
def test_something_else_is_refused(tree: Any, tmp_path: Path) -> None:
    """Two of these were found by `make fuzz` (checkpoint, seed 42, inputs 5177 and 17770)."""
    with pytest.raises(CheckpointError, match="is damaged: it does not hold what a run saves"):
        checkpoint.load(folder_with(tmp_path, tree), WANTED)


@pytest.mark.parametrize("tree", [[], {}, {"classifier": "linear"}, {"classifier": "linear", "weights": 3}])
def test_a_first_stage_that_is_none_is_refused(tree: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.stage1.parent.mkdir()
    save_tree(folder.stage1, tree)
    with pytest.raises(CheckpointError, match="is damaged: it does not hold a first stage"):
        stage1_of(folder)
