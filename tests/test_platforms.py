"""What only Linux has stands behind guards: each is taken away here. `make check` has the types of others checked."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lmd import ending, locks, parallel, runtime, stopping
from lmd.data.decode import cache, place
from lmd.deployment.serving import memory
from lmd.errors import SettingsError
from lmd.files import atomic_write
from lmd.jobs import cluster
from tests.test_house import ROOT, SOURCES, name_of


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


class FakeProcess:
    """A process as Windows has it: what is asked of it is noted."""

    pid = 0

    def __init__(self) -> None:
        self.asked: list[str] = []

    def poll(self) -> None:
        return None

    def terminate(self) -> None:
        self.asked.append("terminate")

    def kill(self) -> None:
        self.asked.append("kill")

    def send_signal(self, number: int) -> None:
        raise ValueError(f"Unsupported signal: {number}")  # As Windows does.


def on(monkeypatch: pytest.MonkeyPatch, platform: str, *modules: Any) -> None:
    """Lets some modules see another system, and no other module."""
    for module in modules:
        monkeypatch.setattr(
            module, "sys", SimpleNamespace(platform=platform, executable=sys.executable, exit=sys.exit)
        )


def test_on_windows_a_process_is_ended_in_place_of_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "win32", ending)
    monkeypatch.delattr(os, "killpg")
    monkeypatch.delattr(signal, "SIGKILL")
    process: Any = FakeProcess()
    ending.tell(process, signal.SIGINT)
    ending.kill_all(process)
    ending.save_and_end(process.pid, 60)
    assert process.asked == ["terminate", "kill"]


def test_elsewhere_a_signal_is_passed_on() -> None:
    process = sleeper()
    ending.tell(process, signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    ending.tell(process, signal.SIGTERM)  # It has ended: nothing happens.


def test_a_child_that_ends_is_not_waited_for_in_vain_and_keeps_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = sleeper()
    begun = time.monotonic()
    ending.save_and_end(process.pid, 30)
    assert time.monotonic() - begun < 15
    assert process.wait(10) == -signal.SIGUSR1
    on(monkeypatch, "darwin", ending)
    second = sleeper()
    begun = time.monotonic()
    ending.save_and_end(second.pid, 0.3)  # The whole time is waited.
    assert time.monotonic() - begun >= 0.3
    second.wait(10)


def test_only_linux_ties_a_process_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "darwin", ending)
    monkeypatch.setattr(ending, "ctypes", None)
    ending.end_with(os.getppid() + 1)  # On Linux it would end this process.


def test_on_windows_jobs_of_a_cluster_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, "win32", ending)
    with pytest.raises(SettingsError, match="need signals, which Windows has not; use --jobs"):
        cluster.Cluster("local", [], tmp_path)


def test_without_proc_and_sysconf_memory_and_processor_are_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    def absent(self: Path, *args: Any, **kwargs: Any) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    assert runtime.free_memory(torch.device("cpu")) is None
    assert runtime._cpu_has_bf16() is False
    assert runtime._cpu_name()
    on(monkeypatch, "win32", runtime)
    monkeypatch.delattr(os, "sysconf")
    assert runtime.main_memory() is None


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(runtime, "ctypes", None)
    runtime._keep_freed_memory()


def test_without_affinity_all_cores_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delenv(parallel.CORES, raising=False)
    assert parallel.num_cores() == os.cpu_count()


def test_without_a_user_number_and_without_fallocate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    with (tmp_path / "x").open("wb") as file:
        cache._reserve(file, 1000)
    assert (tmp_path / "x").stat().st_size == 1000
    monkeypatch.delattr(os, "getuid")
    monkeypatch.setattr(place, "_can_write", lambda folder: folder == tmp_path)
    monkeypatch.setenv("LMD_CACHE", str(tmp_path))
    data: Any = SimpleNamespace(folder=tmp_path / "data", info=SimpleNamespace(manifest_sha256="a" * 64))
    assert place.cache_folder(data) == tmp_path / "lmd-0" / ("a" * 16)


def test_a_file_is_synced_through_what_is_open_for_writing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows refuses to sync what is open for reading alone."""
    import fcntl

    def strict(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "fsync", strict)
    atomic_write(tmp_path / "x", "text")
    assert (tmp_path / "x").read_text() == "text"


def test_the_signals_that_are_heeded_are_those_that_there_are() -> None:
    assert all(isinstance(number, signal.Signals) for number in stopping.HEEDED)
    code = (ROOT / "src" / "lmd" / "stopping.py").read_text()
    assert "hasattr(signal, name)" in code


def test_the_locks_of_windows_and_of_others_are_never_imported_together() -> None:
    tree = ast.parse(Path(locks.__file__).read_text())
    guards = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    assert guards == ["sys.platform == 'win32'"]


def test_uploads_without_files_in_memory_lie_in_a_folder_that_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with memory.as_file(b"bytes") as path:
        assert path.read_bytes() == b"bytes"
        assert not path.as_posix().startswith("/proc/")
    assert not path.parent.exists()


# Names of os, signal and modules that Windows or macOS lack, by Python's documentation.
ONLY_UNIX = re.compile(
    r"\bos\.(fork\w*|kill(pg)?|wait(pid|id|3|4)?|getpgid|setsid|setpgid|nice|getloadavg|uname|geteuid|getuid|getgid|"
    r"getgroups|chown|mkfifo|mknod|sysconf|statvfs|posix_\w+|sched_\w+|getpriority|setpriority|memfd_create|"
    r"copy_file_range|sendfile|pread\w*|pwrite\w*|O_(NOFOLLOW|DIRECTORY|CLOEXEC|NONBLOCK|TMPFILE))\b"
    r"|\bsignal\.(SIG(KILL|HUP|USR1|USR2|CHLD|ALRM|PIPE|QUIT|STOP|CONT)|alarm|setitimer|pause|pthread\w*|sig\w*wait\w*)\b"
    r"|\b(import|from) (fcntl|resource|pwd|grp|termios|tty|pty|syslog|readline|crypt)\b"
    r"|/proc/|/sys/|/dev/(?!null)"
)
# Where they stand, each behind a guard that a test above takes away.
GUARDED = {
    "ending.py": {"os.killpg", "signal.SIGKILL", "os.kill", "signal.SIGUSR1", "os.waitid"},
    "locks.py": {"import fcntl"},
    "runtime.py": {"/proc/", "os.sysconf"},
    "data/decode/place.py": {"os.getuid"},
    "data/decode/cache.py": {"os.posix_fallocate"},
    "deployment/serving/memory.py": {"/proc/", "os.memfd_create"},
    "deployment/serving/refusals.py": {"/proc/"},
    "stopping.py": {"os.kill"},  # Of itself: Windows ends the process, which is what is wanted.
}


def test_nothing_that_only_unix_has_stands_elsewhere() -> None:
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        for match in ONLY_UNIX.finditer(path.read_text()):
            found.setdefault(name_of(path).removeprefix("src/lmd/"), set()).add(match[0])
    assert found == GUARDED


def test_what_only_unix_has_is_noticed() -> None:
    for line in (
        "os.fork()",
        "signal.SIGKILL",
        "import resource",
        "Path('/proc/self')",
        "from fcntl import flock",
    ):
        assert ONLY_UNIX.search(line), line
    for line in (
        "os.path",
        "signal.SIGTERM",
        "resource = 1",
        "torch.random.fork_rng()",
        "os.devnull",
        "/dev/null",
    ):
        assert not ONLY_UNIX.search(line), line


def test_make_check_asks_for_the_types_of_the_other_systems() -> None:
    check = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    assert "--python-platform win32" in check
    assert "--python-platform darwin" in check
