"""Shapes and types are checked while the tests run; real data are used where they lie beside the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read by torch when it is first imported: parallel workers must not fight for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings
from jaxtyping import install_import_hook

from tests.browser import browser  # noqa: F401 - a fixture of all tests of pages
from tests.command import Command

# Before any of these modules is imported: jaxtyping's annotations then check every call.
VIEWS = ["lmd.data.feed.scale", "lmd.data.feed.views", "lmd.data.feed.blur"]
install_import_hook(["lmd.losses", "lmd.models", *VIEWS], "beartype.beartype")

# The same examples each time, and no deadline: the first call of torch is slow on a busy machine.
settings.register_profile("lmd", deadline=None, derandomize=True)
settings.load_profile("lmd")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and tables; a test that needs it skips where it is absent."""
    folder = Path(os.environ.get("LMD_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not (folder / "isic2019").is_dir():
        pytest.skip(f"no real data at {folder}; set LMD_SHARED to the folder that holds data/isic2019")
    return folder


@pytest.fixture
def each_epoch_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the state of a training on the disk when its epoch ends, however short that was."""
    monkeypatch.setenv("LMD_CHECKPOINT_SECONDS", "0")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights lie on this machine, and no hub answers."""
    from lmd.models import hub

    def no_network(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(hub, "_cached", lambda where: None)
    monkeypatch.setattr(hub, "_within", no_network)


@pytest.fixture
def lmd(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process and returns (exit code, stdout, stderr)."""

    from lmd import cli  # Here, so that the hook above has been installed before.

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lmd", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, out, err

    return run
