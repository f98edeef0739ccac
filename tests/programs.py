"""Programs that tests start: commands that end, and servers in their own process groups."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Their settings, packages and workspace depend only on what a test passes.
FOREIGN = ("CELERY_", "COV", "DATABASE_URL", "DJANGO_", "ORQ_", "PYTEST", "PYTHON", "VIRTUAL_ENV")
GRACE = 30.0


@dataclass(frozen=True, kw_only=True)
class Program:
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """Stop it as an operator does; no process may be left."""
        self.process.terminate()
        self.process.wait(GRACE)
        assert not group_exists(self.process), f"processes are left\n{self.text}"


@contextmanager
def program(
    name: str, *command: Any, folder: Path, environment: Mapping[str, str], cwd: Path = ROOT
) -> Iterator[Program]:
    """Run it in its own process group until the block ends; its output is logged in ``folder``."""
    log = folder / f"{name}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 # a command of the tests
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started = Program(process=process, log=log)
    try:
        yield started
        started.stop()
    finally:
        end_group(process)


def run(*command: Any, cwd: Path, environment: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> str:
    """Run a command and return its output; it must end with one of these codes."""
    done = subprocess.run(  # noqa: S603 # commands of the tests
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in codes, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def group_exists(process: subprocess.Popen[bytes]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Also leaves nothing behind if the test failed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(fulfilled: Callable[[], object], *, within: float = 60, every: float = 0.05) -> bool:
    """Return whether the condition became true within these seconds."""
    until = time.monotonic() + within
    while not fulfilled():
        if time.monotonic() > until:
            return False
        time.sleep(every)
    return True
