"""What every request passes first and every answer last: who may ask, what browsers may do, what is counted.

It is below the routes, so that it holds for whatever they do, also where they fail.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from lmd.deployment.serving.metrics import Metrics
from lmd.deployment.serving.options import Options, is_loopback
from lmd.deployment.serving.refusals import RefusedError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# The page asks its own server alone, runs its own script alone, and is shown in no other page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPEN = (
    "/",
    "/style.css",
    "/serve.css",
    "/serve.js",
    "/health",
    "/openapi.json",
)  # These tell nothing of the model.
FAILED = "the server failed; its log has the place"
_ELSEWHERE = ("cross-site", "same-site")  # As browsers say that another page asks.

_log = logging.getLogger(__name__)


class Door:
    """The outermost layer of the server."""

    def __init__(self, app: App, options: Options, metrics: Metrics, routes: frozenset[str]) -> None:
        """Wraps an app; `routes` are the paths that are counted by name."""
        self.app, self.options, self.metrics, self.routes = app, options, metrics, routes
        self._token = None if options.token is None else _digest(options.token.encode())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers a request, whatever happens."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, answer = time.perf_counter(), _Answer(send)
        try:
            self._check(scope["path"], Headers(scope=scope))
            await self.app(scope, receive, answer)
        except RefusedError as error:
            await answer.refuse(error.status, error.line, error.headers)
        except ClientDisconnect:
            answer.status = 499
        except Exception as error:  # Its text may quote an upload: kind and place alone are told.
            _log.error("a request failed: %s", _place(error))
            await answer.refuse(500, FAILED)
        finally:
            self._count(scope["path"], answer.status, time.perf_counter() - begun)

    def _check(self, path: str, headers: Headers) -> None:
        """Refuses who may not ask.

        Raises:
            RefusedError: another page asks (403), by another name of this machine (421), or without the
                token (401).
        """
        if headers.get("sec-fetch-site") in _ELSEWHERE and path not in OPEN:
            raise RefusedError(403, "a page of another server may not ask this one")
        if self._token is None and not self._is_own(headers.get("host", "")):
            # A name that somebody else has pointed at this machine: a page of theirs would be one of ours.
            raise RefusedError(421, "ask for this server by the address that it was started with")
        if self._token is not None and path not in OPEN and not self._knows(headers.get("authorization", "")):
            raise RefusedError(
                401, "a token is needed, as 'Authorization: Bearer TOKEN'", {"WWW-Authenticate": "Bearer"}
            )

    def _is_own(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower()
        return is_loopback(name) or name == self.options.host.lower()

    def _knows(self, given: str) -> bool:
        """Whether a header has the token; the time that this takes tells nothing of it."""
        kind, _, token = given.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(
            _digest(token.strip().encode()), self._token or b""
        )

    def _count(self, path: str, status: int, seconds: float) -> None:
        """Counts a request; a path that is not ours may be anything, and is not named."""
        route = path if path in self.routes else "other"
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)


class _Answer:
    """The answer to a request: its status, and the headers that all answers have."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await self._send(message)

    async def refuse(self, status: int, line: str, headers: MutableMapping[str, str] | None = None) -> None:
        """Answers with one line, unless an answer has begun."""
        if self.status:
            return
        body = json.dumps({"error": line}).encode()
        given = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        pairs = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _place(error: BaseException) -> str:
    """The kind of an error and where it was raised, without its text."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__}" + "".join(
        f" at {one.filename.rpartition('/')[2]}:{one.lineno}" for one in last
    )
