"""What several processes of one training do together: begin, agree, stop; nothing of it where there is one.

The first process holds the lock, decodes the images and writes. The others wait for it and write nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import torch

from lmd import stopping
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache
from lmd.errors import CheckpointError, SettingsError
from lmd.models.network import Network
from lmd.processes.batch_norm import over_processes
from lmd.processes.collectives import gather, same_as_first, several
from lmd.processes.dropout import draw_apart
from lmd.processes.starters import place
from lmd.runtime import Runtime
from lmd.settings import CommonSettings, Tree
from lmd.training.progress import Progress

_NOTHING_LEFT = "null"  # What the first process tells where the run is finished.


def check_batch(settings: CommonSettings) -> None:
    """Refuses a batch that does not have an image for each process.

    Raises:
        SettingsError: it is smaller than there are processes.
    """
    if settings.batch < place().world:
        raise SettingsError(
            f"batch = {settings.batch} on {place().world} processes leaves some of them without an image: "
            "'batch' counts those of all processes; start fewer processes, or set a larger batch"
        )


def lead(dataset: Dataset, settings: CommonSettings, identity: Tree, progress: Progress) -> Runtime:
    """Returns the runtime of the first process, once the others may begin: the images are decoded."""
    runtime = Runtime(settings.usable_precision, place=place())
    if runtime.control is not None:
        open_cache(dataset, settings.size, settings.crop, progress.caching)
        runtime.control.told_by_first(json.dumps(identity))
    return runtime


def nothing_left(settings: CommonSettings) -> None:
    """Lets the other processes end: the run is finished."""
    runtime = Runtime(settings.usable_precision, place=place())
    if runtime.control is not None:
        runtime.control.told_by_first(_NOTHING_LEFT)


def met(settings: CommonSettings, identity: Tree) -> Runtime | None:
    """Returns the runtime of a later process once the first is ready; None where nothing is left to do.

    `identity` becomes that of the first process, which knows what an interrupted run began with.

    Raises:
        SettingsError: the two were started to do different things.
    """
    runtime = Runtime(settings.usable_precision, place=place())
    assert runtime.control is not None
    told = cast("Tree | None", json.loads(runtime.control.told_by_first("")))
    if told is None:
        return None
    other = [name for name, value in told.items() if name != "from_sha256" and identity.get(name) != value]
    if other:
        raise SettingsError(
            f"process {runtime.rank + 1} of {runtime.world} was started with another {other[0]} than the "
            "first: give all processes the same command and the same data"
        )
    identity["from_sha256"] = told["from_sha256"]
    return runtime


def same_start(runtime: Runtime, saved: Tree | None) -> None:
    """Checks that all processes go on from the same state; none goes on before all have read it.

    Raises:
        CheckpointError: one has read another checkpoint than the first.
    """
    if runtime.world == 1:
        return
    state = {"stage": -1, "epoch": -1} if saved is None else saved["state"]
    found = gather(torch.tensor([[state["stage"], state["epoch"]]], device=runtime.device))
    if (found != found[:1]).any():
        raise CheckpointError(
            "the processes read different checkpoints: all machines must see the same run folder"
        )


@contextmanager
def training_together(runtime: Runtime) -> Iterator[None]:
    """Has BatchNorm look at all processes' images, and signals stop all processes at the same step."""
    if runtime.world == 1:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(stopping.noting())
        stack.enter_context(over_processes())
        yield
        for _ in range(2):  # What came in the last steps; it is read one exchange later.
            stop_together(runtime)


def apart(network: Network, runtime: Runtime) -> None:
    """Has each of several processes draw the dropout of its own images."""
    if runtime.world > 1:
        draw_apart(network, runtime.rank)


def stop_together(runtime: Runtime) -> None:
    """Stops all processes by a signal that one of them was given.

    Raises:
        Stopped: there was one.
    """
    if runtime.control is not None:
        number = runtime.control.signal(stopping.asked() or 0)
        if number:
            stopping.stop(number)


def same_network(network: Network) -> None:
    """Gives all processes the network of the first: other processors may round otherwise."""
    if several():
        same_as_first([value.detach() for value in network.state_dict().values()])


def as_first(validation: Tree, runtime: Runtime) -> Tree:
    """Returns what the first process found on validation: all processes choose the same network."""
    if runtime.world == 1 or not validation:
        return validation
    numbers = [math.nan if value is None else float(value) for value in validation.values()]
    tensor = torch.tensor(numbers, dtype=torch.float64, device=runtime.device)
    same_as_first([tensor])
    found = [None if math.isnan(value) else value for value in tensor.tolist()]
    return dict(zip(validation, found, strict=True))
