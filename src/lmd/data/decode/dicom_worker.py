"""Decodes DICOM frames in processes of their own, by decoders that may crash or panic.

gdcm alone reads lossless JPEG and JPEG-LS. Some damaged files make it crash, which must not end a training.
pylibjpeg-rle panics on some, and prints several lines. A process is used again for the next frame, because
starting one takes half a second.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_SECONDS = 120  # Enough for the largest frame. A decoder that takes longer is stopped.
# By its path and with -P: a file numpy.py in the current folder, beside the images, must not be run.
_COMMAND = [sys.executable, "-P", __file__]
_idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()


def decode_apart(path: Path, position: int, plugin: str = "gdcm") -> np.ndarray:
    """Returns the stored pixels of a frame, decoded by a process of its own with one of pydicom's plugins.

    Raises:
        ValueError: the frame is damaged; the process may have crashed of it, or taken too long.
    """
    worker = _take()
    question = json.dumps([str(path.absolute()), position, plugin]) + "\n"
    stop = threading.Timer(_SECONDS, worker.kill)
    stop.start()
    try:
        pixels = _ask(worker, question.encode())
    except BaseException:
        _end(worker)
        raise
    finally:
        stop.cancel()
    _idle.put(worker)
    return pixels


def _take() -> subprocess.Popen[bytes]:
    """An idle process, or a new one."""
    try:
        return _idle.get_nowait()
    except queue.Empty:
        pipe = subprocess.PIPE
        return subprocess.Popen(_COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def _ask(worker: subprocess.Popen[bytes], question: bytes) -> np.ndarray:
    """The pixels that a process answers; a dead one gives none."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(question)
        worker.stdin.flush()
    except OSError as error:
        raise ValueError("the decoder has ended") from error
    length = int.from_bytes(worker.stdout.read(4), "big")
    said = worker.stdout.read(length)
    if not length or len(said) < length:
        raise ValueError("the decoder gave up")
    kind, shape = json.loads(said)
    length = math.prod(shape) * np.dtype(kind).itemsize
    data = worker.stdout.read(length)
    if len(data) < length:
        raise ValueError("the decoder gave up")
    return np.frombuffer(data, kind).reshape(shape)


@atexit.register
def _end_all() -> None:
    while not _idle.empty():
        _end(_idle.get())


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    # Closes the pipes and waits; a question that a dead process did not take cannot be flushed any more.
    with suppress(OSError), worker:
        pass


def main() -> None:
    """Answers each line `[path, position, plugin]`: a length, type and shape in JSON, pixels; 0 for none."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What a decoder prints is no answer.
    for line in sys.stdin:
        _answer(json.loads(line), answers)


def _answer(question: list[Any], answers: BinaryIO) -> None:
    from pydicom.pixels import pixel_array

    path, position, plugin = question
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path of memory is opened, and not resolved.
            pixels = np.ascontiguousarray(pixel_array(file, index=position, decoding_plugin=plugin))
        said = json.dumps([pixels.dtype.str, pixels.shape]).encode()
    except BaseException:  # The decoders raise many kinds for damaged files; a panic of Rust is no Exception.
        answers.write(bytes(4))
    else:
        answers.write(len(said).to_bytes(4, "big") + said)
        answers.write(pixels.reshape(-1).view(np.uint8).data)
    answers.flush()


if __name__ == "__main__":
    main()
