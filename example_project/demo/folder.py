"""The folder that a demo writes to: empty at the start, and one demo's at a time."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .children import ROOT, DemoFailed
from .terminal import say

LOCK = "lock"
PATIENCE = 20.0
"""Seconds to wait for an earlier demo that is just ending."""


@contextmanager
def demo_folder(*, temporary: bool) -> Iterator[tuple[Path, int]]:
    """The empty folder and the descriptor of its lock; ``DemoFailed`` if a demo runs in it."""
    if temporary:
        with (
            tempfile.TemporaryDirectory(prefix="django-orq-demo-") as name,
            _locked(Path(name)) as lock,
        ):
            yield Path(name), lock
        return
    folder = ROOT / ".demo"
    folder.mkdir(exist_ok=True)
    with _locked(folder) as lock:
        _empty(folder)
        yield folder, lock


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock, folder)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise DemoFailed(
                    f"A demo runs in {folder} already: end it with Ctrl-C in its terminal first."
                ) from None
        else:
            return
        if not told:
            say("Waiting for an earlier demo to end …")
            told = True
        time.sleep(0.1)


def _empty(folder: Path) -> None:
    # A new sandbox has other conversations: rows, messages and schedules of the last one are void.
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
