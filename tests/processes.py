"""Processes of tests' own: forked from one that has loaded torch, which takes seconds, once for all of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch.distributed as dist
import torch.multiprocessing as mp

# What most of a child's time would go into.
_LOADED = ["torchvision", "timm", "lightning_fabric", "sklearn.metrics", "pandas", "lmd.training.loop"]
multiprocessing.set_forkserver_preload(_LOADED)


def on_two(work: Callable[..., None], folder: str, *arguments: Any) -> None:
    """Calls work(rank, folder, *arguments) in the two processes of a group; their errors are raised here."""
    mp.start_processes(_in_group, (work, folder, *arguments), nprocs=2, start_method="forkserver")  # pyright: ignore


def _in_group(rank: int, work: Callable[..., None], folder: str, *arguments: Any) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    work(rank, folder, *arguments)
    dist.destroy_process_group()


def exit_code(work: Callable[..., None], *arguments: Any) -> int | None:
    """Returns how a process ended that called work(*arguments): 0, or minus the signal that killed it."""
    started = process(work, *arguments)
    started.join()
    return started.exitcode


def process(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Returns a process that has begun to call work(*arguments)."""
    started = multiprocessing.get_context("forkserver").Process(target=work, args=arguments, daemon=True)
    started.start()
    return started
