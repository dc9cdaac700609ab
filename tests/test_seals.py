"""Checksums inside of files: no bit of such a file can change unnoticed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmd.errors import CheckpointError
from lmd.files import load_tree, save_tree
from lmd.seals import JSON, TREE, fits, read_sealed_json, seal, sealed_json

TREE_OF_ALL_KINDS = {"a": [torch.arange(3), {"b": None, 3: 1.5}], "c": torch.ones(2, dtype=torch.bfloat16)}


def test_no_bit_of_a_json_object_changes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    whole = sealed_json({"format": 2, "name": "é", "rate": 1e-5}).encode()
    path.write_bytes(whole)
    assert read_sealed_json(path) == ({"format": 2, "name": "é", "rate": 1e-5}, True)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(
            ValueError,
            match=r"its checksum does not fit|it does not begin|it is not JSON|it is not a text file",
        ):
            read_sealed_json(path)


def test_no_bit_of_a_tree_changes_unnoticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not of the header's length, its padding, its names, or the tensors."""
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "tree"
    save_tree(path, TREE_OF_ALL_KINDS)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"cannot read checkpoint .*tree"):
            load_tree(path)


def test_the_same_tree_is_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        save_tree(tmp_path / name, TREE_OF_ALL_KINDS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_cut_off_or_longer_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    save_tree(path, TREE_OF_ALL_KINDS)
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0", whole[:60], b""):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_tree(path)


def test_a_tree_of_an_earlier_version_is_read_and_said_to_have_no_checksum(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    skeleton = {"dict": [["a", {"tensor": "000000"}]]}
    save_file({"000000": torch.arange(3)}, tmp_path / "old", metadata={"lmd_tree": json.dumps(skeleton)})
    assert torch.equal(load_tree(tmp_path / "old")["a"], torch.arange(3))
    assert "old is of an earlier version: it has no checksum" in caplog.text
    caplog.clear()
    save_tree(tmp_path / "new", {"a": 1})
    load_tree(tmp_path / "new")
    assert caplog.text == ""


def test_only_a_file_with_a_place_for_it_is_sealed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    with pytest.raises(ValueError, match="no place for a checksum"):
        seal(tmp_path / "x", TREE)
    assert fits(tmp_path / "x", JSON) is None
