"""Seeds, atomic files, trees of tensors, and the gather that keeps gradients right."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from lmd import runtime
from lmd.errors import CheckpointError, SettingsError
from lmd.files import atomic_write, load_tree, save_tree
from lmd.losses.relation import channel_consistency, probability_consistency, sample_consistency
from lmd.runtime import Runtime, derive_seed, gather
from tests.processes import on_two


def test_seeds_depend_on_every_key_and_fit_a_generator() -> None:
    seeds = {derive_seed(seed, name, epoch) for seed in range(5) for name in "ab" for epoch in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    tree = {
        "a": [torch.arange(3), {"b": None, 3: 1.5}],
        "c": torch.ones(2, 2, dtype=torch.bfloat16),
        "empty": {},
        "text": "x",
    }
    save_tree(tmp_path / "tree", tree)
    back = load_tree(tmp_path / "tree")
    assert torch.equal(back["a"][0], tree["a"][0])
    assert back["a"][1] == {"b": None, 3: 1.5}
    assert torch.equal(back["c"], tree["c"])
    assert (back["empty"], back["text"]) == ({}, "x")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
@pytest.mark.parametrize("chosen", [{}, {"MALLOC_TRIM_THRESHOLD_": "131072"}])
def test_memory_that_a_layer_frees_is_kept_for_the_next(chosen: dict[str, str]) -> None:
    """Counts the pages that the system hands out; a user's own choice stays."""
    code = """if True:
        import resource
        from lmd.runtime import _keep_freed_memory
        _keep_freed_memory()
        faults = []
        for _ in range(6):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            b"x" * (48 * 2**20)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        print(faults[0], min(faults))
    """
    clean = {name: value for name, value in os.environ.items() if name not in runtime._CHOSEN_BY_USER}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | chosen, capture_output=True, text=True, check=True
    )
    first, least = map(int, done.stdout.split())
    pages = 48 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert first > pages // 2
    assert least > pages // 2 if chosen else least < pages // 100


def test_a_run_on_a_cpu_keeps_what_it_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(runtime, "_keep_freed_memory", lambda: asked.append(True))
    Runtime("fp32", "cpu")
    assert asked == [True]


STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
            "WORLD_SIZE = 2: .*'train' alone .* start one process",
        ),
        (STEP, "SLURM_STEP_NUM_TASKS = 4"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, "OMPI_COMM_WORLD_SIZE = 3"),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, None),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "job"}, None),  # A batch script.
        ({**STEP, "SLURM_JOB_NAME": "bash"}, "SLURM_STEP_NUM_TASKS = 4"),  # srun -n 4 bash job.sh
        ({"WORLD_SIZE": "many"}, None),
    ],
)
def test_one_of_several_processes_is_refused(
    variables: dict[str, str], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if told is None:
        runtime.refuse_several_processes()
        assert (Runtime("fp32", "cpu").world, Runtime("fp32", "cpu").rank) == (1, 0)
        return
    with pytest.raises(SettingsError, match=told):
        runtime.refuse_several_processes()


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_a_person_at_a_terminal_starts_one_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {**STEP, "SLURM_JOB_NAME": name}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    runtime.refuse_several_processes()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_tree_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tree").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        load_tree(tmp_path / "tree")


def test_a_failed_write_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    atomic_write(target, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*file: No space left"):
        atomic_write(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        atomic_write(tmp_path / "file" / "below", "x")


def _relation_loss(features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The three consistencies against a fixed teacher, on the rows of all processes."""
    student, student_logits = gather(features), gather(logits)
    torch.manual_seed(1)
    teacher, teacher_logits = torch.randn(8, 5).double(), torch.randn(8, 3).double()
    return (
        sample_consistency(student, teacher)
        + channel_consistency(student, teacher)
        + probability_consistency(student_logits, teacher_logits)
    )


def _data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(8, 4).double(), torch.randn(4, 5).double(), torch.randn(5, 3).double()


def _worker(rank: int, folder: str) -> None:
    images, encoder, head = _data()
    encoder.requires_grad_()
    features = images[rank * 4 : rank * 4 + 4] @ encoder
    _relation_loss(features, features @ head).backward()
    assert encoder.grad is not None
    dist.all_reduce(encoder.grad)
    encoder.grad /= 2  # What DDP does.
    if rank == 0:
        torch.save(encoder.grad, f"{folder}/gradient")


def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    on_two(_worker, str(tmp_path))
    images, encoder, head = _data()
    encoder.requires_grad_()
    features = images @ encoder
    _relation_loss(features, features @ head).backward()
    assert encoder.grad is not None
    found = torch.load(tmp_path / "gradient", weights_only=True)
    torch.testing.assert_close(found, encoder.grad)
