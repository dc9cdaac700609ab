"""Who may ask, how much, and what is told to nobody: names, paths and patients."""

from __future__ import annotations

import hmac
import io
import json
import logging
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode import dicom_worker
from lmd.deployment.serving import decoding, door, memory, service
from lmd.deployment.serving.gate import Gate
from lmd.deployment.serving.refusals import RefusedError
from tests.data.decode.test_dicom import SECRET, header, written
from tests.deployment.serving.asking import flat, line_of, png, predict
from tests.deployment.serving.conftest import Served

TOKEN = "a-token-that-is-long-enough"


# Who may ask.


def test_without_the_token_nothing_of_the_model_is_told(
    serve: Callable[..., Served], monkeypatch: Any
) -> None:
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        door.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or real(a, b)
    )
    served = serve(token=TOKEN, nearest="off")
    client = served.client
    closed = [
        ("GET", "/api/model"),
        ("POST", "/api/predict"),
        ("POST", "/api/prior"),
        ("GET", "/metrics"),
        ("GET", "/x"),
    ]
    wrong = [
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xe9",
    ]
    for method, path in closed:
        for given in wrong:
            answer = client.request(
                method, path, headers={"Authorization": given.encode("latin-1")} if given else {}
            )
            assert line_of(answer, 401) == "a token is needed, as 'Authorization: Bearer TOKEN'"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert set(compared) == {(32, 32)}  # Digests: not even the length of the token can be told by the time.
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/model", headers=right).json()["title"] == "ce on toy"
    assert client.post("/api/predict", headers=right, files={"files": png()}).status_code == 200
    for path in door.OPEN:
        answer = client.get(path)
        assert answer.status_code == 200
        assert "toy" not in answer.text
    assert client.get("/openapi.json").json()["security"] == [{"token": []}]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.0.1"]
)
def test_another_name_of_this_machine_is_refused(served: Served, host: str) -> None:
    """A page of another server could have its name point here, and would read what is answered."""
    for path in ("/", "/api/model", "/health"):
        line = line_of(served.client.get(path, headers={"Host": host}), 421)
        assert line == "ask for this server by the address that it was started with"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST:1"])
def test_the_names_of_this_machine_are_its_own(served: Served, host: str) -> None:
    assert served.client.get("/health", headers={"Host": host}).json() == {"status": "ok"}


def test_a_page_of_another_server_may_not_ask(served: Served) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        answer = served.client.post("/api/predict", files={"files": png()}, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/serve.js", "/api/model", "/health", "/metrics", "/nothing"])
def test_every_answer_forbids_a_browser_what_it_need_not_do(served: Served, path: str) -> None:
    headers = served.client.get(path).headers
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_pages_that_load_from_elsewhere_are_not_there(served: Served) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert line_of(served.client.get(path), 404) == "there is nothing here"
    assert line_of(served.client.get("/api/predict"), 405) == "this can be asked by other methods only"


# How much.


def test_a_request_has_so_many_bytes_files_and_pixels(serve: Callable[..., Served]) -> None:
    served = serve(max_mb=0.2, max_files=2, max_megapixels=1, nearest="off")
    client = served.client
    assert (
        line_of(predict(client, b"x" * 250_000), 413)
        == "the request is too large: at most 200,000 bytes are read"
    )
    assert line_of(predict(client, png(), png(), png()), 422) == "too many files: at most 2 in a request"
    assert line_of(predict(client, flat(1100, 1000)), 413) == (
        "image 1 is too large: 1100 x 1000 pixels are 1 million, and 1 million are the most for its kind; make it "
        "smaller, or cut it into parts"
    )
    assert predict(client, flat(1000, 1000), flat(900, 900)).status_code == 200
    jpeg = io.BytesIO()
    Image.new("RGB", (1400, 1000)).save(jpeg, format="JPEG")  # It could be decoded at a fraction of its size.
    assert "too large" in line_of(predict(client, jpeg.getvalue()), 413)
    big = json.dumps({"probabilities": [[1, 0, 0]], "prior": "train", "x": "y" * 300_000})
    answer = client.post("/api/prior", content=big, headers={"Content-Type": "application/json"})
    assert line_of(answer, 413) == "the request is too large: at most 200,000 bytes are read"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "text/plain", 415),
        (b"", "multipart/form-data", 400),
        (b"garbage", "multipart/form-data; boundary=a", 400),
        (
            b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--\r\n",
            "multipart/form-data; boundary=a",
            400,
        ),
        (b"--a\r\n" * 30, "multipart/form-data; boundary=a", 400),
        (b"--a--\r\n", "multipart/form-data; boundary=a", 422),
    ],
)
def test_a_damaged_form_is_refused(served: Served, body: bytes, kind: str, status: int) -> None:
    line_of(served.client.post("/api/predict", content=body, headers={"Content-Type": kind}), status)


def test_files_and_fields_are_not_mixed_up(served: Served) -> None:
    post = served.client.post
    assert "no image" in line_of(post("/api/predict", files=[("sets", (None, "0.9"))]), 422)
    assert line_of(post("/api/predict", files={"files": ("x", b"")}), 422) == "image 1 is empty (0 bytes)"
    assert "images go into the field 'files'" in line_of(post("/api/predict", files={"other": b"x"}), 422)
    assert "must be a file" in line_of(post("/api/predict", files=[("files", (None, "text"))]), 422)
    twice = [("files", ("x", png())), ("sets", (None, "0.9")), ("sets", (None, "0.8"))]
    assert "there twice" in line_of(post("/api/predict", files=twice), 422)
    answer = post("/api/prior", content=b"{", headers={"Content-Type": "application/json"})
    assert line_of(answer, 422) == "the body is no JSON"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Images take until the event is set."""
    go_on, real = threading.Event(), service.Reader.read

    def read(*arguments: Any, **keywords: Any) -> Any:
        go_on.wait(20)
        return real(*arguments, **keywords)

    monkeypatch.setattr(service.Reader, "read", read)
    return go_on


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_beyond_the_queue_one_is_told_to_come_again(
    serve: Callable[..., Served], slow: threading.Event
) -> None:
    served = serve(queue=2, nearest="off")
    with ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(predict, served.client, png(0, n)) for n in range(2)]
        until(lambda: served.service.gate.inside == 2)
        answer = predict(served.client, png())
        assert line_of(answer, 429).startswith("too many requests at once: ask again in ")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert served.client.get("/health").status_code == 200
        slow.set()
        assert [one.result().status_code for one in inside] == [200, 200]
    assert served.service.gate.inside == 0
    assert served.service.gate.bytes == 0
    assert predict(served.client, png()).status_code == 200


def test_uploads_are_bounded_in_all() -> None:
    gate = Gate(10, 100)
    with gate.entered() as one, gate.entered() as two:
        one.add(500)
        two.add(300)
        with pytest.raises(RefusedError, match="too many uploads at once"):
            two.add(1)
        assert gate.bytes == 800
    assert (gate.bytes, gate.inside) == (0, 0)


def test_what_takes_too_long_is_given_up(serve: Callable[..., Served], slow: threading.Event) -> None:
    served = serve(timeout=0.3, nearest="off")
    assert line_of(predict(served.client, png()), 504) == "there was no answer within 0.3 s"
    slow.set()
    until(lambda: served.service.gate.inside == 0)
    assert predict(served.client, png()).status_code == 200


def test_a_body_that_does_not_come_is_given_up(serve: Callable[..., Served]) -> None:
    served = serve(timeout=0.3, nearest="off")

    def drip() -> Any:
        yield b"--a\r\n"
        time.sleep(1)
        yield b"--a--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=a"}
    answer = served.client.post("/api/predict", content=drip(), headers=headers)
    assert line_of(answer, 408) == "the request did not come within 0.3 s"


def test_a_client_that_goes_away_is_forgotten(served: Served) -> None:
    url = httpx.URL(served.address)
    with socket.create_connection((url.host, url.port)) as client:
        head = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
        client.sendall(f"{head}Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n".encode())
        until(lambda: served.service.gate.bytes == 5)
    until(lambda: served.service.gate.inside == 0)
    assert served.service.gate.bytes == 0
    assert predict(served.client, png()).status_code == 200


# What is told to nobody, and kept nowhere.


def test_no_upload_reaches_a_disk(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not memory.in_memory():
        pytest.skip("only Linux gives memory a path")

    def never(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a temporary file was made")

    for name in ("mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory"):
        monkeypatch.setattr(tempfile, name, never)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", never)
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG")
    assert len(buffer.getvalue()) > 6_000_000  # Starlette's own parser puts more than 1 MB into a file.
    assert predict(served.client, buffer.getvalue(), explain=True).status_code == 200
    rle = header(noise[:90, :80], "RGB")
    rle.compress("1.2.840.10008.1.2.5")
    file = tmp_path / "rle.dcm"
    rle.save_as(file, enforce_file_format=True)
    assert predict(served.client, file).status_code == 200  # A process of its own decodes it, from memory.


def test_elsewhere_the_file_of_an_upload_is_removed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "in_memory", lambda: False)
    with memory.as_file(b"abc") as path:
        assert path.read_bytes() == b"abc"
        if sys.platform != "win32":
            assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.parent.exists()
    with pytest.raises(ValueError, match="x"), memory.as_file(b"abc") as path:
        raise ValueError("x")
    assert not path.parent.exists()


def test_names_and_patients_are_in_no_answer_log_or_count(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    whole = written(tmp_path / "a.dcm", header(pixels, "RGB")).read_bytes()
    answers = []
    for cut in (whole, whole[: len(whole) // 2], whole[:700], whole.replace(b"RGB", b"ZGB")):
        files = {"files": ("Zebulon^Quagmire-ID-4711-SECRET.dcm", cut, "application/dicom")}
        answers.append(served.client.post("/api/predict", files=files, data={"explain": "true"}))
    assert [answer.status_code for answer in answers] == [200, 422, 422, 422]
    answers.append(served.client.get("/api/patients/Zebulon%5EQuagmire?id=ID-4711-SECRET"))
    answers.append(served.client.post("/api/predict", files={"Zebulon^Quagmire": b"x"}))
    metrics = served.client.get("/metrics").text
    said = "".join(str(capfd.readouterr()))
    for secret in (*SECRET, "Zebulon", "4711"):
        assert all(secret not in answer.text for answer in answers)
        assert secret not in metrics
        assert secret not in said
        assert all(
            secret not in record.getMessage()
            for record in caplog.records
            if not record.name.startswith("http")
        )


def test_a_fault_of_ours_is_told_by_its_place_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("Zebulon^Quagmire")

    with monkeypatch.context() as failing:
        failing.setattr(service.Reader, "read", fault)
        answer = predict(served.client, png())
    assert line_of(answer, 500) == "the server failed; its log has the place"
    assert answer.headers["x-content-type-options"] == "nosniff"
    until(lambda: any(one.name == door.__name__ for one in caplog.records))
    (record,) = (one for one in caplog.records if one.name == door.__name__)
    assert record.getMessage().startswith("a request failed: RuntimeError at test_door.py:")
    assert "Zebulon" not in caplog.text
    assert predict(served.client, png()).status_code == 200


def test_a_network_that_fails_fails_its_request_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*arguments: Any) -> Any:
        raise RuntimeError("x")

    with monkeypatch.context() as failing:
        failing.setattr(served.service.engine, "_answers", fault)
        assert predict(served.client, png()).status_code == 500
    assert predict(served.client, png()).status_code == 200


def test_a_decoder_that_crashes_is_one_line(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rle = header(np.random.default_rng(0).integers(0, 256, (60, 50), dtype=np.uint8))
    rle.compress("1.2.840.10008.1.2.5")
    rle.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    dicom_worker._end_all()
    with monkeypatch.context() as crashing:
        program = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGSEGV)"
        crashing.setattr(dicom_worker, "_COMMAND", [sys.executable, "-c", program])
        line = line_of(predict(served.client, tmp_path / "a.dcm"), 422)
    assert line == "image 1 cannot be read: damaged DICOM (ValueError)"
    assert predict(served.client, tmp_path / "a.dcm").status_code == 200


def test_a_server_without_pydicom_says_so_without_its_path(
    served: Served, monkeypatch: Any, tmp_path: Path
) -> None:
    file = written(tmp_path / "a.dcm", header(np.zeros((20, 20), np.uint8)))
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    line = line_of(predict(served.client, file), 415)
    assert line == "image 1 is DICOM, which this server is not set up to read"


# What is counted.


def test_what_is_counted(serve: Callable[..., Served]) -> None:
    served = serve(nearest="off")
    predict(served.client, png(0), png(1))
    predict(served.client, b"x" * 100)
    served.client.get("/patients/4711")
    served.client.get("/health")
    lines = dict(
        line.rsplit(" ", 1) for line in served.client.get("/metrics").text.splitlines() if line[0] != "#"
    )
    assert lines['lmd_requests_total{route="/api/predict",status="200"}'] == "1.0"
    assert lines['lmd_requests_total{route="/api/predict",status="422"}'] == "1.0"
    assert lines['lmd_requests_total{route="other",status="404"}'] == "1.0"
    assert lines['lmd_requests_total{route="/health",status="200"}'] == "1.0"
    assert lines["lmd_images_total"] == "2.0"
    assert lines["lmd_images_unreadable_total"] == "1.0"
    assert lines["lmd_batch_images_sum"] == "2.0"
    assert lines["lmd_requests_inside"] == "0.0"
    assert not [name for name in lines if "common" in name or "rare" in name]


def test_images_that_wait_are_answered_together(trained: tuple[Path, Dataset], model: Any) -> None:
    import torch

    from lmd.deployment.serving.engine import Engine

    sizes: list[int] = []
    engine = Engine(model, sizes.append)
    engine.most = 4
    go_on = threading.Event()
    engine.call(go_on.wait)
    pixels = [torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8) for _ in range(7)]
    answers = [engine.answer(one) for one in pixels]
    dropped = engine.answer(pixels[0])
    dropped.cancel()
    called = engine.call(lambda: 5)
    go_on.set()
    together = [answer.result(10).logits for answer in answers]
    assert called.result(10) == 5
    assert sizes == [4, 3]
    alone = [engine.answer(one).result(10).logits for one in pixels]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    engine.close()
