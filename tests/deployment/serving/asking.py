"""How the tests ask a server."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests import toy


def png(label: int = 0, number: int = 0, size: int = 40) -> bytes:
    """An image of the toy's kind."""
    buffer = io.BytesIO()
    Image.fromarray(toy.draw(label, number, size)).save(buffer, format="PNG")
    return buffer.getvalue()


def flat(width: int, height: int) -> bytes:
    """A plain image, whose file is small."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def predict(client: httpx.Client, *uploads: bytes | Path, **fields: Any) -> httpx.Response:
    """Sends images and fields."""
    data = [upload.read_bytes() if isinstance(upload, Path) else upload for upload in uploads]
    files = [("files", ("x", one)) for one in data]
    return client.post("/api/predict", files=files, data={name: str(value) for name, value in fields.items()})


def line_of(answer: httpx.Response, status: int) -> str:
    """The one plain line of a refusal."""
    assert answer.status_code == status, answer.text
    tree = answer.json()
    assert set(tree) == {"error"}
    assert "\n" not in tree["error"]
    assert "/" not in tree["error"].replace("multipart/form-data", "").replace("application/json", "")
    return tree["error"]
