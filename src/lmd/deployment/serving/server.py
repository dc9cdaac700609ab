"""The server itself: its socket, its loop, and how it ends."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from lmd.deployment.serving.options import Options
from lmd.errors import SettingsError
from lmd.extras import how_to_install
from lmd.folds.folder import FoldsRun
from lmd.run import RunFolder
from lmd.stopping import HEEDED

if TYPE_CHECKING:
    import uvicorn

    from lmd.deployment.serving.door import Door
    from lmd.deployment.serving.gate import Gate
    from lmd.deployment.serving.service import Service

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
Stop = Callable[[], None]
Started = Callable[[Stop], None]
_WAITING = 128  # Connections that wait to be accepted.
_MOST_HEADERS = 2**16  # Bytes.


def require_packages() -> None:
    """Refuses to serve without what it takes, before torch is loaded.

    Raises:
        SettingsError: a package is missing; says how it is installed.
    """
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            raise SettingsError(
                f"lmd serve needs the package '{name.replace('_', '-')}': {how_to_install('serve')}"
            ) from None


def listening(options: Options) -> socket.socket:
    """Returns a socket that listens where the options say.

    Raises:
        SettingsError: the port is in use, may not be used, or the host is not one of this machine's.
    """
    told = f"lmd serve: cannot listen at --host {options.host} --port {options.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"{told}: {error.strerror or error}") from error
    try:
        if os.name == "posix":  # Elsewhere it would let another program take the port.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_WAITING)
    except OSError as error:
        made.close()
        raise SettingsError(
            f"{told}: {error.strerror or error}; choose another with --port (0: any that is free)"
        ) from error
    return made


def address_of(options: Options, made: socket.socket) -> str:
    """Returns the address that a browser is given."""
    port = made.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{port}/"


def run_app(app: Door, gate: Gate, made: socket.socket, started: Started) -> None:
    """Serves until it is told to stop: then what runs is finished, and what is new gets 503.

    A signal tells it. So does the function that `started` is called with once the server answers.
    """
    import uvicorn

    for name in ("uvicorn", "python_multipart"):  # The door tells of errors, and quotes nobody.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app, access_log=False, log_config=None, lifespan="off", ws="none", http="h11", loop="asyncio",
        proxy_headers=False, server_header=False, h11_max_incomplete_event_size=_MOST_HEADERS,
    )  # fmt: skip
    stops: list[Stop] = []
    early: list[int] = []  # Signals that came before it answered.

    def begun(stop: Stop) -> None:
        stops.append(stop)
        if early:
            stop()
        started(stop)

    # In a thread of its own: whoever calls may have a loop of theirs, as notebooks do.
    with _heeded(stops, early), ThreadPoolExecutor(1, thread_name_prefix="lmd-server") as pool:
        pool.submit(lambda: asyncio.run(_served(_server_of(config), gate, made, begun))).result()


def _server_of(config: uvicorn.Config) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """A server whose signals are ours."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Captures none."""
            yield

    return Server(config)


async def _served(server: uvicorn.Server, gate: Gate, made: socket.socket, started: Started) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if told.is_set():  # A second time: at once.
            server.should_exit = server.force_exit = True
        loop.call_soon_threadsafe(told.set)

    ending = asyncio.create_task(_end(server, gate, told))
    serving = asyncio.create_task(server.serve([made]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    started(stop)
    await serving
    ending.cancel()


async def _end(server: uvicorn.Server, gate: Gate, told: asyncio.Event) -> None:
    """Once it is told to: lets nothing in, waits for what is inside, and ends the server."""
    await told.wait()
    await gate.drained()
    server.should_exit = True


@contextmanager
def _heeded(stops: Sequence[Stop], early: list[int]) -> Iterator[None]:
    """Has the signals that end a process stop the server; other threads than the main one take none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in HEEDED}
    for number in HEEDED:
        signal.signal(number, lambda number, _: [stop() for stop in stops] or early.append(number))
    try:
        yield
    finally:
        for number, handler in usual.items():
            with suppress(TypeError):  # One that was not set from Python.
                signal.signal(number, handler)


def serve_run(run: RunFolder, options: Options, say: Callable[[str], None]) -> None:
    """Serves a run until a signal comes; of a folds run the mean of its models answers.

    Raises:
        SettingsError: the port is in use.
        CheckpointError, DataError: the run has no finished model, or a file of it is damaged.
    """
    with listening(options) as made:  # Before a model is loaded for it.
        from lmd.deployment.serving.app import app_of
        from lmd.deployment.serving.service import Service
        from lmd.folds.either import load_either

        model = load_either(run, isinstance(run, FoldsRun))
        with closing(Service(model, run, options)) as service:
            lines = _lines(service, options, made)

            def started(stop: Stop) -> None:
                say("\n".join(lines))

            run_app(app_of(service), service.gate, made, started)
    say("stopped; nothing of the uploads is kept")


def _lines(service: Service, options: Options, made: socket.socket) -> list[str]:
    """What is said once the server answers."""
    about = service.about()
    token = "a token is needed" if options.token else "whoever uses this machine can ask"
    far = (
        []
        if options.is_local
        else ["others can reach it, and nothing is encrypted: put a proxy with TLS before it"]
    )
    return [
        f"{about.title}: {address_of(options, made)} ({token}; Ctrl-C stops it)",
        *far,
        about.research_use,
    ]
