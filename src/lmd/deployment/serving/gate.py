"""How much is let in at once: requests and their bytes. What is beyond comes again later."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lmd.deployment.serving.refusals import RefusedError

_REQUESTS_OF_BYTES = 8  # Requests of the largest size whose bytes are in memory at once.
_LONGEST = 60  # Seconds after which whoever was sent away is told to come again, at most.
_SHARE = 0.1  # Of the last request in the mean of their seconds.


class Gate:
    """A bounded queue; all of it is used from the loop's own thread."""

    def __init__(self, most: int, most_bytes: int) -> None:
        """Takes the requests that are inside at once, and the bytes of one request."""
        self.most, self.most_bytes = most, _REQUESTS_OF_BYTES * most_bytes
        self.inside, self.bytes, self.closed = 0, 0, False
        self._seconds = 1.0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def entered(self) -> Iterator[Held]:
        """Lets a request in.

        Raises:
            RefusedError: too many are inside (429), or the server stops (503).
        """
        self.refuse_when_closed()
        if self.inside >= self.most:
            raise self.full("requests")
        begun = time.monotonic()
        self.inside += 1
        self._empty.clear()
        held = Held(self)
        try:
            yield held
        finally:
            held.release()
            self.inside -= 1
            self._seconds += _SHARE * (time.monotonic() - begun - self._seconds)
            if not self.inside:
                self._empty.set()

    def refuse_when_closed(self) -> None:
        """Refuses what is new once the server stops.

        Raises:
            RefusedError: it does (503).
        """
        if self.closed:
            raise RefusedError(
                503, "the server is being stopped", {"Connection": "close", "Retry-After": "10"}
            )

    def full(self, what: str) -> RefusedError:
        """Returns what is said where too much is inside already."""
        seconds = min(_LONGEST, max(1, math.ceil(self._seconds)))
        line = f"too many {what} at once: ask again in {seconds} s"
        return RefusedError(429, line, {"Retry-After": str(seconds)})

    async def drained(self) -> None:
        """Lets nothing in any more, and waits until all that is inside has been answered."""
        self.closed = True
        await self._empty.wait()


class Held:
    """The bytes that a request has in memory."""

    def __init__(self, gate: Gate) -> None:
        """Holds none yet."""
        self._gate, self._bytes = gate, 0

    def add(self, number: int) -> None:
        """Counts bytes that have come.

        Raises:
            RefusedError: all requests together hold too many (429).
        """
        if self._gate.bytes + number > self._gate.most_bytes:
            raise self._gate.full("uploads")
        self._gate.bytes += number
        self._bytes += number

    def release(self) -> None:
        """Gives them back."""
        self._gate.bytes -= self._bytes
        self._bytes = 0
