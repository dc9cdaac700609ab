"""The benchmark of the server: its numbers, and that a load of bad and good requests is counted apart."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import served


@pytest.fixture
def address() -> Iterator[str]:
    """A server that takes what begins with "good", and refuses the rest."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if b"good" in body else 422)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_good_and_bad_requests_are_counted_apart(address: str) -> None:
    found = served.load(address, [b"good"], requests=40, clients=3, bad=0.05)
    assert found["good"] == {200: 38}
    assert found["bad"] == {422: 2}
    assert 0 < found["p50_ms"] <= found["p99_ms"]


def test_the_median_and_the_99th_percentile_in_milliseconds() -> None:
    assert served.times([number / 1000 for number in range(1, 202)]) == {"p50_ms": 101.0, "p99_ms": 199.0}


def test_the_large_image_is_a_small_file() -> None:
    from PIL import Image

    assert len(served._large()) < 20_000
    assert Image.open(io.BytesIO(served._large())).size == (2000, 2000)
