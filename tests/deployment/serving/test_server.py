"""How a server starts, is refused, and ends: the command, signals, and requests that are under way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import lmd as package
from benchmarks.fuzzed import fuzzed
from lmd.cli import stopped
from lmd.data.dataset.manifest import Dataset
from lmd.deployment.serving import options, server, service
from lmd.deployment.serving.options import TOKEN, Options, options_of
from lmd.deployment.serving.schema import Ask
from lmd.errors import SettingsError
from tests.command import Command, refused
from tests.deployment.serving.asking import line_of, png, predict
from tests.deployment.serving.conftest import Served

LONG = "a-token-that-is-long-enough"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)


# What is refused before anything is loaded.


@pytest.fixture
def run(trained: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that must not be loaded."""

    def never(*arguments: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("lmd.folds.either.load_either", never)
    return trained[0]


def test_a_port_that_is_in_use_is_refused(lmd: Command, run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(
            lmd("serve", run, "--port", port),
            f"cannot listen at --host 127.0.0.1 --port {port}: Address already in use; choose another with --port",
        )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "0.0.0.0"], f"at the host 0.0.0.0 others than this machine can ask: set a token in the environment variable {TOKEN}"),
        (["--host", "::"], "at the host :: others than this machine can ask"),
        (["--host", "no such host", "--token", LONG], "cannot listen at --host no such host --port 8000"),
        (["--host", "203.0.113.77", "--token", LONG], "cannot listen at --host 203.0.113.77 --port 8000"),
        (["--token", "short"], "the token must have at least 16 letters, has 5"),
        (["--token", "sixteen letters and blanks"], "the token must be of ASCII letters, digits and marks, without blanks"),
        (["--token", "sechzehn-Bücher-und-mehr"], "the token must be of ASCII letters"),
        (["--port", "70000"], "--port 70000: must be from 0 to 65535"),
        (["--queue", "0"], "--queue 0: must be from 1 to 10000"),
        (["--max-files", "0"], "--max-files 0: must be from 1 to 1000"),
        (["--timeout", "0"], "--timeout: must be more than 0"),
        (["--timeout", "nan"], "--timeout: must be"),
        (["--max-mb", "-1"], "--max-mb: must be more than 0"),
        (["--max-megapixels", "1000"], "--max-megapixels: must be at most 100"),
        (["--nearest", "maybe"], "unknown nearest 'maybe'"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(lmd: Command, run: Path, words: list[str], told: str) -> None:
    result = lmd("serve", run, *words)
    refused(result, told)
    if "--token" in words and LONG not in words:
        assert words[1] not in result[2]


def test_a_token_of_the_environment_counts(lmd: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "short")
    refused(lmd("serve", run), "the token must have at least 16 letters")
    monkeypatch.setenv(TOKEN, LONG)
    assert options_of(host="0.0.0.0").token == LONG
    assert LONG not in repr(options_of())
    assert options_of(token="another-one-that-is-long").token == "another-one-that-is-long"
    monkeypatch.setenv(TOKEN, "")
    assert options_of().token is None


def test_a_folder_that_is_no_run_is_refused(lmd: Command, tmp_path: Path) -> None:
    refused(lmd("serve", tmp_path / "none"), str(tmp_path / "none"))
    refused(lmd("serve"), "serve needs RUN")


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "prometheus_client", "python_multipart"])
def test_a_package_that_is_missing_is_named(
    lmd: Command, run: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    refused(
        lmd("serve", run),
        f"lmd serve needs the package '{name.replace('_', '-')}'",
        "-m pip install -e '.[serve]'",
    )


def test_training_images_are_shown_where_this_machine_alone_can_ask() -> None:
    assert options_of().shows_nearest
    assert options_of(token=LONG).shows_nearest
    assert not options_of(host="0.0.0.0", token=LONG).shows_nearest
    assert options_of(host="0.0.0.0", token=LONG, nearest="on").shows_nearest
    assert not options_of(nearest="off").shows_nearest
    with pytest.raises(SettingsError, match="--nearest: "):
        options_of(nearest="perhaps")


def test_a_token_is_not_in_what_is_said_after_a_signal() -> None:
    stopped.remember("serve", {})
    for words in (["serve", "RUN", "--token", LONG], ["serve", "RUN", f"--token={LONG}"]):
        line = stopped.message(signal.SIGTERM, words)
        assert LONG not in line
        assert line.startswith("stopped by SIGTERM; start again with: lmd serve RUN --token")


# It ends in order.


def test_a_signal_ends_the_command_in_order(
    lmd: Command, trained: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is finished, what is new gets 503, and the exit code is 0."""
    monkeypatch.chdir(trained[0].parent)
    begun, go_on, real = threading.Event(), threading.Event(), service.Reader.read

    def slow(*arguments: Any, **keywords: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return real(*arguments, **keywords)

    monkeypatch.setattr(service.Reader, "read", slow)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found: dict[str, Any] = {}
    asked = threading.Thread(
        target=_ask_and_stop, args=(f"http://127.0.0.1:{port}", begun, go_on, found), daemon=True
    )
    asked.start()
    code, out, err = lmd("serve", "run", "--port", port)
    asked.join(20)
    assert code == 0, err
    assert (
        out.splitlines()[0]
        == f"ce on toy: http://127.0.0.1:{port}/ (whoever uses this machine can ask; Ctrl-C stops it)"
    )
    assert out.splitlines()[1].startswith("For research use only. Not a medical device.")
    assert out.splitlines()[-1] == "stopped; nothing of the uploads is kept"
    assert found["under way"].status_code == 200
    assert line_of(found["new"], 503) == "the server is being stopped"
    assert found["new"].headers["connection"] == "close"
    assert line_of(found["health"], 503) == "the server is being stopped"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health")


def _ask_and_stop(
    address: str, begun: threading.Event, go_on: threading.Event, found: dict[str, Any]
) -> None:
    """Asks, sends the signal while the answer is under way, asks again, and lets the answer come."""
    with httpx.Client(base_url=address, timeout=20) as client, ThreadPoolExecutor(1) as pool:
        for _ in range(1000):
            try:
                client.get("/health")
                break
            except httpx.ConnectError:
                time.sleep(0.02)
        under_way = pool.submit(predict, client, png())
        begun.wait(20)
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            found["health"] = client.get("/health")
            if found["health"].status_code == 503:
                break
            time.sleep(0.01)
        found["new"] = predict(client, png(1))
        go_on.set()
        found["under way"] = under_way.result()


def test_the_function_serves_until_a_signal_and_leaves_signals_as_they_were(
    trained: tuple[Path, Dataset],
) -> None:
    usual = signal.getsignal(signal.SIGTERM)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    package.serve(trained[0], port=0, token=LONG, nearest="off", say=say)
    assert "(a token is needed; Ctrl-C stops it)" in said[0]
    assert LONG not in said[0]
    assert signal.getsignal(signal.SIGTERM) is usual


def test_a_second_signal_ends_it_at_once(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, real = threading.Event(), service.Reader.read

    def slow(*arguments: Any, **keywords: Any) -> Any:
        go_on.wait(20)
        return real(*arguments, **keywords)

    monkeypatch.setattr(service.Reader, "read", slow)
    served = serve(nearest="off")
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(predict, served.client, png())
        while not served.service.gate.inside:
            time.sleep(0.01)
        served.stop()
        time.sleep(0.3)
        assert served.thread.is_alive()
        served.stop()
        served.thread.join(5)
        ended = not served.thread.is_alive()
        go_on.set()
        assert ended
        assert under_way.result().status_code == 500


def test_a_folds_run_needs_no_word_for_its_mean(
    lmd: Command, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, bool]] = []

    def load(run: Any, average: bool) -> Any:
        loaded.append((run.path.name, average))
        raise SettingsError("enough")

    monkeypatch.setattr("lmd.folds.either.load_either", load)
    refused(lmd("serve", finished, "--port", "0"), "enough")
    assert loaded == [("run", True)]


def test_addresses_as_a_browser_takes_them() -> None:
    assert options.is_loopback("127.8.9.1")
    made = server.listening(options_of(port=0))
    assert server.address_of(options_of(), made) == f"http://127.0.0.1:{made.getsockname()[1]}/"
    assert server.address_of(options_of(host="::1"), made).startswith("http://[::1]:")
    made.close()


# By the schema of the interface.


def test_the_interface_is_as_its_schema_says(served: Served) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    assert set(fuzzed(served.address, 4)) <= {200, 400, 408, 413, 415, 422}


@pytest.mark.slow
def test_the_interface_is_as_its_schema_says_in_ten_thousand_cases(served: Served) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    assert fuzzed(served.address, 2600).total() >= 10_000


def test_a_run_whose_files_are_damaged_is_refused(
    lmd: Command, trained: tuple[Path, Dataset], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    (run / "evaluation-test.json").write_text("{")
    refused(lmd("serve", run, "--port", "0"), "evaluation-test.json")


# What docs/serve.md says.


def test_the_page_about_it_names_all_options_fields_routes_and_statuses(served: Served, lmd: Command) -> None:
    page = (Path(__file__).parents[3] / "docs" / "serve.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`|[\d, ]+) \|", page, re.MULTILINE)
    named = set(re.findall(r"`([^`]+)`", " ".join(rows)))
    options_ = {f"--{name.replace('_', '-')}" for name in Options.model_fields}
    assert options_ == {name for name in named if name.startswith("--")}
    assert all(name in lmd("serve", "--help")[1] for name in options_)
    schema = served.client.get("/openapi.json").json()
    form = schema["paths"]["/api/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"files", *Ask.model_fields} <= named
    routes = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    assert routes | {"GET /openapi.json"} == {name for name in named if " /" in name}
    statuses = {
        int(status)
        for methods in schema["paths"].values()
        for one in methods.values()
        for status in one["responses"]
    }
    told = {int(word) for row in rows for word in re.findall(r"\b[45]\d\d\b", row)}
    assert statuses - {200} == told - {404, 405, 500}
