"""The demo's hold on its processes, shown with stand-ins; `make demo CHECK=1` shows the rest."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

# The example's package makes its Celery app the current one, so it stays out of this process.
PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have been told to ignore it
from pathlib import Path
from example_project.demo.children import Children, DemoFailed, StopAsked
folder = Path(sys.argv[1])
lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
stand_in = [sys.executable, str(folder / "stand_in.py")]
try:
    with Children(folder=folder, environment=os.environ, lock=lock) as children:
        one = children.start("one", [*stand_in, "60"])
        two = children.start("two", [*stand_in, sys.argv[2]])
        children.wait_until(lambda: "words" in one.tail() and "words" in two.tail(), child=two)
        print("ready", flush=True)
        children.wait(60)
except StopAsked:
    print("stopped, left:", children.survivors())
except DemoFailed as failure:
    print(failure)
    print("left:", children.survivors())
"""
# It and the process below it hold a lock together, which says whether either is still there.
STAND_IN = """
import fcntl, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
alive = os.open("{alive}", os.O_RDWR)
fcntl.flock(alive, fcntl.LOCK_SH)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[alive])
print("last words", flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def alive(tmp_path: Path) -> Path:
    (tmp_path / "alive").touch()
    return tmp_path / "alive"


@pytest.fixture
def demo(tmp_path: Path, alive: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start two stand-ins with a process below each; the second ends after the seconds given."""
    started = []
    (tmp_path / "stand_in.py").write_text(STAND_IN.format(alive=alive))

    def start(seconds: float = 60) -> subprocess.Popen[str]:
        program = subprocess.Popen(  # noqa: S603  # the program above
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "example_project.settings"},
        )
        started.append(program)
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def all_gone(alive: Path, within: float = 0) -> bool:
    """Whether no stand-in, and no process below one, runs any more."""
    until = time.monotonic() + within
    with alive.open() as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_children_and_their_children_without_a_traceback(demo, alive, number):
    program = demo()
    assert not all_gone(alive)
    program.send_signal(number)
    output, _ = program.communicate(timeout=30)
    assert output == "\nStopping everything …\nstopped, left: []\n"
    assert all_gone(alive)


def test_a_demo_killed_outright_leaves_no_process(demo, alive):
    program = demo()
    program.kill()
    assert all_gone(alive, within=10)


def test_a_child_that_ends_stops_all_and_is_named_with_its_last_words(demo, alive):
    program = demo(seconds=0.5)
    output, _ = program.communicate(timeout=30)
    assert output.startswith(
        "Stopping everything …\nThe two ended (exit code 0). The end of two.log:\n\n    last words\n"
    )
    assert output.endswith("left: []\n")
    assert all_gone(alive)
