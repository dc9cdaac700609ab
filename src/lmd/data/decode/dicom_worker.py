"""Decodes DICOM frames with gdcm, in processes of their own.

gdcm alone reads lossless JPEG and JPEG-LS. Some damaged files make it crash, which must not end a training.
A process is used again for the next frame, because starting one takes half a second.
"""

from __future__ import annotations

import atexit
import io
import json
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
_COMMAND = [sys.executable, "-m", "lmd.data.decode.dicom_worker"]
_idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()


def decode_apart(path: Path, position: int) -> np.ndarray:
    """Returns the stored pixels of a frame, decoded by a process of its own.

    Raises:
        ValueError: the frame is damaged; the process may have crashed of it, or taken too long.
    """
    worker = _take()
    question = json.dumps([str(path), position]) + "\n"
    stop = threading.Timer(_SECONDS, worker.kill)
    stop.start()
    try:
        data = _ask(worker, question.encode())
    except BaseException:
        _end(worker)
        raise
    finally:
        stop.cancel()
    _idle.put(worker)
    return np.load(io.BytesIO(data), allow_pickle=False)


def _take() -> subprocess.Popen[bytes]:
    """An idle process, or a new one."""
    try:
        return _idle.get_nowait()
    except queue.Empty:
        pipe = subprocess.PIPE
        return subprocess.Popen(_COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def _ask(worker: subprocess.Popen[bytes], question: bytes) -> bytes:
    """The answer of a process; a dead one gives none."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(question)
        worker.stdin.flush()
    except OSError as error:
        raise ValueError("the decoder has ended") from error
    length = int.from_bytes(worker.stdout.read(8), "big")
    data = worker.stdout.read(length)
    if not data:
        raise ValueError("the decoder gave up")
    return data


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
    """Answers each line `[path, position]` with the pixels as npy, their length before them; 0 for none."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What a decoder prints is no answer.
    for line in sys.stdin:
        _answer(json.loads(line), answers)


def _answer(question: list[Any], answers: BinaryIO) -> None:
    from pydicom.pixels import pixel_array

    file = io.BytesIO()
    try:
        np.save(file, pixel_array(question[0], index=question[1], decoding_plugin="gdcm"))
    except Exception:  # pydicom's decoders raise many kinds for damaged files.
        file = io.BytesIO()
    answers.write(len(file.getvalue()).to_bytes(8, "big") + file.getvalue())
    answers.flush()


if __name__ == "__main__":
    main()
