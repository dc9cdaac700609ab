"""A step of training as one CUDA graph: what a GPU does in a step is recorded once, then replayed.

A step of a small network is hundreds of kernels of a few microseconds. A GPU waits for the processor that
launches them one by one (docs/speed.md). A replayed graph is one launch.

What a replay sees anew is what lies in the tensors that the recording read: the inputs of a step are copied
into them. A number that a step takes from anywhere else is the number of the recording, for ever. So only a
stage that says `capturable` is recorded.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

# The inputs of a step by name: tensors, and numbers, which become tensors of one element on a GPU.
Inputs = Mapping[str, Any]
Step = Callable[[Inputs], dict[str, Tensor]]

# Steps that run before the recording: in them libraries load kernels and optimisers make their state.
_WARM = 3
EAGER = "LMD_EAGER"  # Set, no step is recorded: for a debugger, and to compare.

_log = logging.getLogger(__name__)


def of_fixed_shapes(tensor: Tensor) -> bool:
    """Whether no number may decide on a shape or a path: on a GPU, which would wait for whoever reads it."""
    return tensor.device.type != "cpu"


class Branch:
    """Work that a recorded graph does beside what follows, until it is joined.

        with Branch(device) as branch:
            teacher = ...
        student = ...
        branch.join()

    A small network leaves most of a GPU idle. Without a recording the work is simply done in its turn: what
    one stream frees another may still read, and only a graph keeps its memory to itself.
    """

    def __init__(self, device: torch.device) -> None:
        """Prepares a stream where a graph is recorded."""
        recorded = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        self.stream = torch.cuda.Stream(device) if recorded else None
        self.context = ExitStack()

    def __enter__(self) -> Branch:
        """Goes to the stream, which begins when all before it is done."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream())
            self.context.enter_context(torch.cuda.stream(self.stream))
        return self

    def __exit__(self, *error: object) -> None:
        """Comes back."""
        self.context.close()

    def join(self) -> None:
        """Lets what follows wait for the work."""
        if self.stream is not None:
            torch.cuda.current_stream().wait_stream(self.stream)


class Branched(Mapping[str, Tensor]):
    """Tensors by name that a recorded graph makes beside each other; who takes one waits for it."""

    def __init__(self, make: Callable[[str], Tensor], names: Iterable[str], device: torch.device) -> None:
        """Makes them all."""
        self.made: dict[str, tuple[Tensor, Branch]] = {}
        for name in names:
            with Branch(device) as branch:
                tensor = make(name)
            self.made[name] = tensor, branch

    def __getitem__(self, name: str) -> Tensor:
        """Returns one of them, for the stream of whoever takes it."""
        tensor, branch = self.made[name]
        branch.join()
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return iter(self.made)

    def __len__(self) -> int:
        """The number of them."""
        return len(self.made)


class GraphedStep:
    """A step that runs as it is, or on CUDA, where it is `wanted`, from its fourth call on as a graph.

    Batches of different shapes have graphs of their own. A step that cannot be recorded runs as it is, and
    one line says so.
    """

    def __init__(self, step: Step, device: torch.device, name: str, wanted: bool = True) -> None:
        """Keeps the step; `name` is what a message calls it."""
        self.step, self.device, self.name = step, device, name
        self.wanted = wanted and device.type == "cuda" and not os.environ.get(EAGER)
        self.recordings: dict[Any, _Recording] = {}

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        """Takes the step and returns its terms, without gradients; the next call overwrites them."""
        if not self.wanted:
            return self.step(inputs)
        shapes = tuple((name, value.shape) for name, value in inputs.items() if isinstance(value, Tensor))
        if shapes not in self.recordings:
            self.recordings[shapes] = _Recording(self.step, inputs, self.device)
        try:
            return self.recordings[shapes](inputs)
        except _NotRecordableError as error:
            _log.warning("%s runs step by step: it cannot be recorded as a CUDA graph (%s)", self.name, error)
            self.wanted = False
            self.release()
            return self.step(inputs)

    def release(self) -> None:
        """Gives the memory of the graphs back."""
        self.recordings.clear()


class _NotRecordableError(Exception):
    """A step does what a graph cannot hold, such as to wait for a number."""


class _Recording:
    """The graph of one shape of inputs, and the tensors that it reads."""

    def __init__(self, step: Step, inputs: Inputs, device: torch.device) -> None:
        """Makes the tensors that the inputs are copied into."""
        self.step = step
        self.inputs = {name: _place(value, device) for name, value in inputs.items()}
        # One stream for warm steps and recording: a gradient is added up on the stream of its first use.
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.terms: dict[str, Tensor] = {}
        self.calls = 0

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        for name, value in inputs.items():
            _put(value, self.inputs[name])
        self.calls += 1
        if self.graph is None and self.calls <= _WARM:
            return self._warm()
        if self.graph is None:
            self.graph = self._record()
        self.graph.replay()
        return self.terms

    def _warm(self) -> dict[str, Tensor]:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            terms = _detached(self.step(self.inputs))
        torch.cuda.current_stream().wait_stream(self.stream)
        return terms

    def _record(self) -> torch.cuda.CUDAGraph:
        """Records the step, which moves nothing yet.

        Raises:
            _NotRecordableError: it cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        self.stream.wait_stream(torch.cuda.current_stream())
        generator = _generator_of(self.stream.device)
        before = generator.get_state()
        try:
            with torch.cuda.stream(self.stream), _recording(graph):
                self.terms = _detached(self.step(self.inputs))
        except (RuntimeError, TypeError, ValueError) as error:
            torch.cuda.synchronize()
            # It would wait for ever for the end of the recording. A new one goes on where it was.
            fresh = torch.Generator(self.stream.device)
            fresh.set_state(before)
            generator.graphsafe_set_state(fresh)
            raise _NotRecordableError(" ".join(str(error).split())[:200]) from error
        return graph


def _generator_of(device: torch.device) -> torch.Generator:
    """The generator of a GPU that dropout and noise draw from."""
    return torch.cuda.default_generators[device.index or 0]


@contextmanager
def _recording(graph: torch.cuda.CUDAGraph) -> Generator[None]:
    """What `torch.cuda.graph` does, without its collection of garbage, which takes longer than a step.

    Instead nothing is collected meanwhile: a graph that is destroyed then would spoil the recording.
    """
    collecting = gc.isenabled()
    gc.disable()
    # Other threads may go on: one decodes the next batch, one writes a checkpoint.
    graph.capture_begin(capture_error_mode="thread_local")
    try:
        yield
    finally:
        try:
            graph.capture_end()
        finally:
            if collecting:
                gc.enable()


def _detached(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms without what autograd kept of them, which would keep a whole step in memory."""
    return {name: value.detach() for name, value in terms.items()}


def _put(value: Tensor | float, place: Tensor) -> None:
    """Gives an input its place; numbers of the processor are pinned, so that nobody waits for the copy."""
    if not isinstance(value, Tensor):
        place.fill_(value)
    elif value.device == place.device:
        place.copy_(value)
    else:
        place.copy_(value.pin_memory(), non_blocking=True)


def _place(value: Tensor | float, device: torch.device) -> Tensor:
    """A tensor on the device that an input is copied into."""
    if isinstance(value, Tensor):
        return torch.empty_like(value, device=device)
    return torch.zeros((), device=device, dtype=torch.int64 if isinstance(value, int) else torch.float32)
