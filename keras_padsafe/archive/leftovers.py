"""Temporary files: their names say whose they are, so that none outlives its writer."""

import os
import re
import secrets
import shutil
import signal
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType

# Whose process ids they are, the process, when it started, and a token.
_NAME = re.compile(
    r"\.keras_padsafe-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}\.(?:keras|preset)"
)
FILE, FOLDER = ".keras", ".preset"
_UNFINISHED: list[Path] = []  # by the main thread, one within another
_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def temporary_beside(target: Path, suffix: str = FILE) -> Path:
    """A new name in the folder of `target`, short whatever the length of that one.

    A file ends as a model's does: a proof loads it before it has its own name.
    """
    pid = os.getpid()
    mark = f"{_machine()}-{pid}-{_started(pid) or 0}-{secrets.token_hex(4)}"
    return target.with_name(f".keras_padsafe-{mark}{suffix}")


def remove_leftovers(folder: Path) -> None:
    """Removes what processes of this machine that are no more left unfinished."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_leftover(entry.name) and not entry.is_symlink():
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Removes a file, or a folder with all in it, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)


@contextmanager
def removed_when_killed(path: Path) -> Iterator[None]:
    """Lets SIGTERM and SIGHUP remove a path before they do what they always do.

    A handler of the program's own is left alone: it may well go on. Only the main
    thread may set one; what another leaves behind, the next run removes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _UNFINISHED.append(path)
    ours = [s for s in _SIGNALS if signal.getsignal(s) is signal.SIG_DFL]

    def give_up(number: int, frame: FrameType | None) -> None:
        for unfinished in _UNFINISHED:
            remove(unfinished)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in ours:
        signal.signal(number, give_up)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        _UNFINISHED.remove(path)


def _is_leftover(name: str) -> bool:
    match = _NAME.fullmatch(name)
    if match is None or match[1] != _machine():
        return False
    pid, started = int(match[2]), int(match[3])
    return not _is_alive(pid) or (started > 0 and _started(pid) != started)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # There a file in use cannot be removed.
        return pid == os.getpid()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # It is another user's.
        return True
    return True


def _started(pid: int) -> int | None:
    """When a process started, in the ticks of the system; `None` if it cannot say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


@cache
def _machine() -> str:
    """One id space of processes: a machine, and a container on it."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    name = os.uname().nodename if hasattr(os, "uname") else os.getenv("COMPUTERNAME")
    return f"{zlib.crc32(f'{name} {space}'.encode()):08x}"
