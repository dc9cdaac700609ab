"""Commands of the pages, run one after another in a folder; what was made of the same things is not made twice."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from lmd import cli
from tests.pages.blocks import Typed
from tests.pages.world import small

PLAIN = {"cp", "mkdir"}  # Programs besides lmd that run as they are.
RESULTS = ("--out", "--dicom-sr")  # Options that name a result, which has to be new.


class Place:
    """The current folder, and what is known of each file and folder in it: the last command that named it.

    A command of the same words on the same things leaves the same things behind. They are kept once, and laid
    here again in place of a second run.
    """

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self.state: dict[str, str] = {}

    def run(self, command: Typed) -> None:
        key = hashlib.sha256(
            repr([(word, self.state.get(word)) for word in command.words]).encode()
        ).hexdigest()
        if (self.kept / key).exists():
            self._lay(self.kept / key)
        else:
            run(command)
            self._keep(command, self.kept / key)
        self.state.update(dict.fromkeys(command.words, key))

    def _keep(self, command: Typed, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in command.words:
            path = Path(name)
            if len(path.parts) == 1 and path.exists() and not path.is_symlink():
                (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / name)

    @staticmethod
    def _lay(folder: Path) -> None:
        for path in folder.iterdir():
            gone(Path(path.name))
            (shutil.copytree if path.is_dir() else shutil.copy)(path, path.name)


def gone(path: Path) -> None:
    """Removes a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run(command: Typed) -> None:
    """Runs a command; a folder of the name of its result gives way."""
    where = f"{command.page}:{command.line}: {command.text}"
    if command.words[0] in PLAIN:
        subprocess.run(command.words, check=True)
        return
    assert command.words[0] == "lmd", f"neither run nor exempt: {where}"
    words = small(command)
    for option in RESULTS:
        if option in words and "--resume" not in words:
            gone(Path(words[words.index(option) + 1]))
    code, told = called(words)
    assert code == 0, f"{where}\n{told}"


def called(words: list[str]) -> tuple[object, str]:
    """Runs lmd in this process; the exit code, and what it said of errors."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(told):
        patch.setattr(sys, "argv", ["lmd", *words])
        try:
            cli.main()
        except SystemExit as end:
            return end.code, told.getvalue()
    raise AssertionError("the command does not exit")
