"""Prediction over HTTP with the standard library alone: a trained model answers images in JSON.

    python examples/prediction_service.py RUN
    curl --data-binary @a.jpg http://127.0.0.1:8000/

For research. Not a medical device. The model is loaded once. An upload lies in a temporary file while it is
answered; nothing is kept and nothing about an image is logged. The service listens on this machine alone:
it knows no users and no encryption, so do not open it to a network as it is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmd

if TYPE_CHECKING:
    from lmd.evaluation.predict import Model

ADDRESS = "127.0.0.1"
MAX_BYTES = 20 * 2**20  # of an upload
NOTICE = "for research, not a medical device"


def answer(model: Model, image: bytes) -> dict[str, Any]:
    """Returns the class and the probability of each class for the bytes of an image file.

    Raises:
        DataError: they are no image that can be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "upload"
        file.write_bytes(image)
        row = model.predict(file).iloc[0]
    shares = {name: float(row[f"p_{name}"]) for name in model.classes}
    return {"predicted": str(row["predicted"]), "probabilities": shares, "notice": NOTICE}


class Handler(BaseHTTPRequestHandler):
    """Answers POSTed images, one after another; GET says which classes there are."""

    timeout = 30  # seconds that a client may keep us waiting

    def __init__(self, model: Model, lock: threading.Lock, *arguments: Any) -> None:
        """Keeps the model; the base class answers at once."""
        self.model, self.lock = model, lock
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Says which classes the model knows."""
        self.reply(200, {"classes": self.model.classes, "notice": NOTICE})

    def do_POST(self) -> None:
        """Answers an image."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self.reply(411, {"error": "send the length of the image"})
        elif int(length) > MAX_BYTES:
            self.reply(413, {"error": f"an image may have {MAX_BYTES} bytes at most"})
        else:
            self.answer(self.rfile.read(int(length)))

    def answer(self, image: bytes) -> None:
        """Answers the bytes of an image."""
        try:
            with self.lock:  # One image at a time has all cores.
                found = answer(self.model, image)
        except lmd.DataError:
            self.reply(400, {"error": "this is no image that can be read"})
        else:
            self.reply(200, found)

    def reply(self, status: int, content: dict[str, Any]) -> None:
        """Sends JSON and closes the connection: what is left of a refused upload is not read."""
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


def serve(run: Path | str, port: int = 8000) -> ThreadingHTTPServer:
    """Returns a server with the model of a run; port 0 takes any that is free."""
    return ThreadingHTTPServer((ADDRESS, port), partial(Handler, lmd.load(run), threading.Lock()))


def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description=NOTICE)
    parser.add_argument("run", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    try:
        server = serve(options.run, options.port)
    except lmd.LmdError as error:
        parser.error(str(error))
    with server:
        print(f"http://{ADDRESS}:{server.server_port}/ ({NOTICE})")
        server.serve_forever()


if __name__ == "__main__":
    main()
