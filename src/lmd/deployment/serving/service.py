"""What answers a request: uploads are decoded by several threads, and answered by the network's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pandas as pd

from lmd.deployment.serving.about import Knowledge
from lmd.deployment.serving.answers import Table, at_shares
from lmd.deployment.serving.decoding import Decoded, Reader
from lmd.deployment.serving.engine import Answered, Engine
from lmd.deployment.serving.gate import Gate
from lmd.deployment.serving.looks import Looks
from lmd.deployment.serving.metrics import Metrics
from lmd.deployment.serving.neighbours import known_of
from lmd.deployment.serving.options import Options
from lmd.deployment.serving.refusals import RefusedError
from lmd.deployment.serving.schema import About, Answer, Ask, AskAtPrior, AtShares, Explanation, Predictions
from lmd.evaluation.predict import Model
from lmd.evaluation.selective.unlikeness_result import USUAL
from lmd.parallel import num_cores
from lmd.run import RunFolder
from lmd.spreadsheet import guarded_table

Result = TypeVar("Result")
Bad = dict[int, RefusedError]


class Service:
    """A model with all that its server needs."""

    def __init__(self, model: Model, run: RunFolder, options: Options) -> None:
        """Starts the threads.

        Raises:
            CheckpointError, DataError: a file of the run is damaged.
        """
        self.options, self.known = options, Knowledge(model, run)
        self.gate = Gate(options.queue, options.most_bytes)
        self.metrics = Metrics(lambda: self.gate.inside, lambda: self.gate.bytes)
        self.engine = Engine(model, self.metrics.batches.observe)
        self.looks = Looks(model, known_of(self.engine, run, options.shows_nearest))
        self._reader = Reader(model.card.preprocessing, options.most_pixels)
        self._pool = ThreadPoolExecutor(num_cores(), thread_name_prefix="lmd-upload")
        self.engine.call(lambda: self.looks.maps).result()

    def close(self) -> None:
        """Ends the threads; what has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.engine.close()

    def about(self) -> About:
        """Returns what the model is and what is offered."""
        return self.known.about(self.looks, self.options)

    async def predictions(self, uploads: Sequence[bytes], ask: Ask) -> Predictions:
        """Returns the answers to uploads, in their order.

        Raises:
            RefusedError: one cannot be read, and those are not to be left out; or none can; or sets or a
                prior are wanted that the run cannot give.
        """
        images, bad = await self._read(uploads, ask)
        table, answered = await self._table(images, ask)
        answers = await self._in_thread(table.answers)
        if ask.explain:
            told = await asyncio.gather(*map(self._explanation, answers, images.values(), answered))
            answers = [
                one.model_copy(update={"explanation": look}) for one, look in zip(answers, told, strict=True)
            ]
        self._count(answers)
        failed = [Answer(image=number, error=error.line) for number, error in bad.items()]
        return Predictions(answers=sorted([*answers, *failed], key=lambda one: one.image), notes=table.notes)

    async def csv(self, uploads: Sequence[bytes], ask: Ask) -> str:
        """Returns the answers as a table; with `skip_bad` images that cannot be read are not in it.

        Raises:
            RefusedError: as for `predictions`.
        """
        images, _ = await self._read(uploads, ask)
        table, _ = await self._table(images, ask)
        return await self._in_thread(partial(_csv, table.rows))

    async def at_shares(self, ask: AskAtPrior) -> AtShares:
        """Returns answers that were given before at stated shares of the classes."""
        return await self._in_thread(partial(at_shares, self.known, ask))

    async def _read(self, uploads: Sequence[bytes], ask: Ask) -> tuple[dict[int, Decoded], Bad]:
        """The images by their numbers, and why others cannot be read."""
        read = partial(self._reader.read, frame=ask.frame, shown=ask.explain)
        numbers = range(1, len(uploads) + 1)
        work = [partial(read, *one) for one in zip(uploads, numbers, strict=True)]
        found = await asyncio.gather(*map(self._in_thread, work))
        bad = {n: one for n, one in zip(numbers, found, strict=True) if isinstance(one, RefusedError)}
        self.metrics.unreadable.inc(len(bad))
        if bad and (not ask.skip_bad or len(bad) == len(found)):
            raise next(iter(bad.values()))
        return {n: one for n, one in zip(numbers, found, strict=True) if isinstance(one, Decoded)}, bad

    async def _table(self, images: dict[int, Decoded], ask: Ask) -> tuple[Table, list[Answered]]:
        futures = [asyncio.wrap_future(self.engine.answer(one.pixels)) for one in images.values()]
        answered = await asyncio.gather(*futures)
        return await self._in_thread(partial(Table, self.known, answered, list(images), ask)), answered

    async def _explanation(self, answer: Answer, image: Decoded, answered: Answered) -> Explanation:
        k = self.known.card.classes.index(answer.predicted or "")
        heat = await asyncio.wrap_future(self.engine.call(partial(self.looks.heat, image.pixels, k)))
        return await self._in_thread(partial(self.looks.explanation, image, heat, answered.features))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _count(self, answers: Sequence[Answer]) -> None:
        self.metrics.images.inc(len(answers))
        self.metrics.unlike.inc(sum((one.unlike or 0) >= USUAL for one in answers))


def _csv(rows: pd.DataFrame) -> str:
    """A table as `lmd predict` writes it."""
    return guarded_table(rows).to_csv(index=False, float_format="%.9g", lineterminator="\n")
