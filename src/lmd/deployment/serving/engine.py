"""The one thread that owns the network: it answers the images that wait in small batches.

It waits for nobody. While a batch is computed others come, and they are the next batch: a single image is
answered at once, and many are answered many at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from lmd.evaluation.outputs import joined, output_of
from lmd.evaluation.predict import Model
from lmd.folds.average import AverageNetwork
from lmd.models.inference import batch_for
from lmd.models.network import Output

Result = TypeVar("Result")


class Answered(NamedTuple):
    """What the network says of an image: logits [K], features [C], and of a mean each model's p [M, K]."""

    logits: np.ndarray
    features: Tensor
    members: np.ndarray | None


@dataclass(frozen=True)
class _Image:
    pixels: Tensor
    future: Future[Answered] = field(default_factory=Future[Answered])


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future[Any])


class Engine:
    """Answers images, and calls functions that use the network, one batch or call after another."""

    def __init__(self, model: Model, seen: Callable[[int], None] = lambda images: None) -> None:
        """Starts the thread; `seen` is called with the images of each batch."""
        self.model, self._seen = model, seen
        self.most = batch_for(model.runtime.device, model.card.preprocessing.size)
        self._network = model.at_rest
        self._waiting: deque[_Image | _Call | None] = deque()
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lmd-network", daemon=True)
        self._thread.start()

    def answer(self, pixels: Tensor) -> Future[Answered]:
        """Returns the future answer to an image, uint8 [3, S, S]."""
        image = _Image(pixels)
        self._add(image)
        return image.future

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Returns the future result of a function that is called by the network's thread."""
        call = _Call(function)
        self._add(call)
        return call.future

    def close(self) -> None:
        """Ends the thread once all that waits is done."""
        self._add(None)
        self._thread.join()

    def _add(self, job: _Image | _Call | None) -> None:
        with self._ready:
            self._waiting.append(job)
            self._ready.notify()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            if isinstance(job, _Call):
                _settle([job.future], lambda job=job: [job.function()])
            else:
                pixels = torch.stack([image.pixels for image in job])
                _settle([image.future for image in job], lambda pixels=pixels: self._answers(pixels))
                self._seen(len(job))

    def _next(self) -> list[_Image] | _Call | None:
        """What is to be done: a function, the images that wait, or nothing any more."""
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting)
                first = self._waiting.popleft()
                found = [first, *self._more()] if isinstance(first, _Image) else first
            if found is None:
                return None
            if isinstance(found, _Call):
                if found.future.set_running_or_notify_cancel():
                    return found
            elif wanted := [image for image in found if image.future.set_running_or_notify_cancel()]:
                return wanted

    def _more(self) -> Iterator[_Image]:
        """The images behind the first one, as many as a batch may have."""
        for _ in range(self.most - 1):
            if not (self._waiting and isinstance(self._waiting[0], _Image)):
                return
            yield cast("_Image", self._waiting.popleft())

    def _answers(self, pixels: Tensor) -> list[Answered]:
        output, members = self._outputs(pixels)
        logits, features = joined([output.logits]), output.features.cpu()
        own = [None] * len(logits) if members is None else list(members)
        return [Answered(*one) for one in zip(logits, features, own, strict=True)]

    def _outputs(self, pixels: Tensor) -> tuple[Output, np.ndarray | None]:
        """The output for a batch and, of the mean of several models, the probabilities of each [B, M, K]."""
        network = self._network
        if not isinstance(network, AverageNetwork):
            return output_of(network, pixels, self.model), None
        each = [output_of(member, pixels, self.model) for member in network.networks]
        return network.together(each), network.probabilities(each).transpose(0, 1).cpu().numpy()


def _settle(futures: list[Future[Any]], work: Callable[[], list[Any]]) -> None:
    """Gives futures what some work returns, or the error that it raised."""
    try:
        results = work()
    except BaseException as error:  # The thread must go on; whoever waits is told.
        for future in futures:
            future.set_exception(error)
        return
    for future, result in zip(futures, results, strict=True):
        future.set_result(result)
