"""A trained model, and servers of it in this process; the run is trained once for all tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import lmd
from lmd.data.dataset.manifest import Dataset
from lmd.deployment.serving.app import app_of
from lmd.deployment.serving.options import options_of
from lmd.deployment.serving.server import address_of, listening, run_app
from lmd.deployment.serving.service import Service
from lmd.evaluation.predict import Model
from lmd.run import RunFolder
from tests import toy
from tests.folds.conftest import make_folds, write_raw

COUNTS = {"train": [40, 12, 5], "val": [20, 15, 12], "test": [12, 12, 12]}


class Served(NamedTuple):
    """A server that runs."""

    service: Service
    address: str
    client: httpx.Client
    stop: Callable[[], None]
    thread: threading.Thread


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A finished and measured run whose decisions are shifted to rare classes; its groups have names of persons."""
    place = tmp_path_factory.mktemp("served")
    dataset = toy.make_dataset(place, COUNTS)
    settings = {**toy.COMMON, "size": 32, "tau": 0.5, "stage1": {"epochs": 1}}
    lmd.train(dataset, method="ce", settings=settings, out=place / "run")
    lmd.evaluate(place / "run", "val")
    lmd.evaluate(place / "run")
    return place / "run", dataset


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Dataset]) -> Model:
    return lmd.load(trained[0])


@contextmanager
def running(model: Model, folder: RunFolder, **given: Any) -> Iterator[Served]:
    """A server on a free port, in a thread."""
    options = options_of(**{"port": 0, **given})
    begun = threading.Event()
    stops: list[Callable[[], None]] = []

    def started(stop: Callable[[], None]) -> None:
        stops.append(stop)
        begun.set()

    with ExitStack() as stack:
        made = stack.enter_context(listening(options))
        service = stack.enter_context(closing(Service(model, folder, options)))
        thread = threading.Thread(
            target=run_app, args=(app_of(service), service.gate, made, started), daemon=True
        )
        thread.start()
        assert begun.wait(20)
        address = address_of(options, made)
        client = stack.enter_context(httpx.Client(base_url=address, timeout=30))
        try:
            yield Served(service, address, client, stops[0], thread)
        finally:
            if thread.is_alive():
                stops[0]()
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(trained: tuple[Path, Dataset], model: Model) -> Iterator[Served]:
    """A server with the usual limits, whose training images have been read."""
    with running(model, RunFolder(trained[0])) as one:
        assert not isinstance(one.service.looks.known.result(30), str)
        yield one


@pytest.fixture
def serve(trained: tuple[Path, Dataset], model: Model) -> Iterator[Callable[..., Served]]:
    """Starts servers with other options."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(running(model, RunFolder(trained[0]), **given))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on two folds."""
    place = tmp_path_factory.mktemp("served-folds")
    folds = make_folds(write_raw(place / "raw"), place / "cv", folds=2)
    lmd.train(folds, method="ce", settings={**toy.COMMON, "stage1": {"epochs": 1}}, out=place / "run")
    return place / "run"
