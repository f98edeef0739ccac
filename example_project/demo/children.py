"""The demo's processes: each in a session of its own, all of them gone when the demo is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from .terminal import say

GUARDIAN = Path(__file__).with_name("guardian.py")
ROOT = Path(__file__).resolve().parents[2]
TICK = 0.1
GRACE = 15.0
"""Seconds that a child has to end by itself; Celery's worker finishes its task first."""


class DemoFailed(Exception):
    """Why the demo can't go on, in words for the person in front of it."""


class StopAsked(Exception):
    """Ctrl-C was pressed, or a signal asked the demo to end."""


@dataclass(frozen=True, kw_only=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    lasting: bool
    """Whether it must run as long as the demo does."""

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output, as the end of a message."""
        last = self.log.read_text(errors="replace").splitlines()[-lines:]
        return f" The end of {self.log.name}:\n\n" + "\n".join(f"    {line}" for line in last)


class Children:
    """A context manager that starts processes and, when left, ends them in reverse order.

    Signals only leave a note, which ``wait`` raises as ``StopAsked``: so none can hit between the
    start of a child and the moment when it is known here.
    """

    def __init__(self, *, folder: Path, environment: Mapping[str, str], lock: int) -> None:
        """``lock``: a file descriptor that stays open until the last child is gone."""
        self.folder = folder
        self.environment = environment
        self.lock = lock
        self._children: list[Child] = []
        self._groups: list[int] = []
        self._stop_asked = False

    def __enter__(self) -> "Children":
        self._guardian = subprocess.Popen(  # noqa: S603  # our own script
            [sys.executable, str(GUARDIAN)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[self.lock],
        )
        self._former = {
            number: signal.signal(number, self._note_signal)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            # `nohup` has the hang-up ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        say("\nStopping everything …" if self._stop_asked else "Stopping everything …")
        for child in reversed(self._children):
            self._end(child)
        self._tell_guardian(None)
        self._guardian.wait()
        for number, former in self._former.items():
            signal.signal(number, former)

    def start(self, name: str, command: Sequence[str], *, extra: Mapping[str, str] | None = None) -> Child:
        """Start what must run from now on; its output goes to ``<name>.log``."""
        return self._start(name, command, shown=False, lasting=True, extra=extra or {})

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        shown: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Run a step to its end; ``DemoFailed`` if it fails.

        Its output goes to ``<name>.log``, or where it is ``shown`` only what is on standard error.
        """
        child = self._start(name, command, shown=shown, lasting=False, extra=extra or {})
        while child.process.poll() is None:
            self.wait(TICK)
        self._end(child)
        self._children.remove(child)
        if child.process.returncode:
            code = child.process.returncode
            raise DemoFailed(f"The step {name!r} failed (exit code {code}).{child.tail()}")

    def wait(self, seconds: float) -> None:
        """Let time pass; ``StopAsked`` or, once a lasting child has ended, ``DemoFailed``."""
        until = time.monotonic() + seconds
        while True:
            self._check()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, TICK))

    def wait_until(self, ready: Callable[[], bool], *, child: Child, within: float = 60) -> None:
        """Wait until ``ready``; ``DemoFailed`` after ``within`` seconds."""
        until = time.monotonic() + within
        while not ready():
            if time.monotonic() > until:
                raise DemoFailed(f"The {child.name} was not ready within {within:.0f} s.{child.tail()}")
            self.wait(TICK)

    def tails(self) -> str:
        """The ends of all logs, for a failure that may have its cause in any of them."""
        return "\n".join(f"The {child.name}:{child.tail()}" for child in self._children)

    def survivors(self, within: float = 10) -> list[int]:
        """The groups of children that still have a process after ``within`` seconds."""
        until = time.monotonic() + within
        while (left := [group for group in self._groups if _exists(group)]) and (time.monotonic() < until):
            time.sleep(TICK)
        return left

    def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        shown: bool,
        lasting: bool,
        extra: Mapping[str, str],
    ) -> Child:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  # commands of the demo's own
                command,
                cwd=ROOT,
                env={**self.environment, **extra},
                stdin=subprocess.DEVNULL,
                stdout=None if shown else output,
                stderr=output,
                start_new_session=True,
            )
        self._tell_guardian(f"+{process.pid}")
        self._groups.append(process.pid)
        child = Child(name=name, process=process, log=log, lasting=lasting)
        self._children.append(child)
        return child

    def _end(self, child: Child) -> None:
        # Only the leader is asked: Celery's worker ends its own processes in good order. What is
        # left of the group after that, or after the leader was killed, is killed.
        child.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(GRACE)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        self._tell_guardian(f"-{child.process.pid}")

    def _tell_guardian(self, line: str | None) -> None:
        pipe = self._guardian.stdin
        with suppress(BrokenPipeError):
            if pipe and line:
                pipe.write(f"{line}\n".encode())
                pipe.flush()
            elif pipe:
                pipe.close()

    def _check(self) -> None:
        if self._stop_asked:
            raise StopAsked
        for child in self._children:
            if child.lasting and child.process.poll() is not None:
                code = child.process.returncode
                raise DemoFailed(f"The {child.name} ended (exit code {code}).{child.tail()}")

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_asked = True


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's by now
        return False
    return True
