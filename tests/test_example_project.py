"""How the demo stops and starts again, tested with a stand-in child process. `make demo CHECK=1` tests the rest."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The example's package sets Celery's current app, so it is not imported in this process.
ENDING = """
import os, sys
from pathlib import Path
from example_project import demo

def demonstrate(children, *, check):
    log = Path(os.environ["STAND_IN_LOG"])
    children.start(log, "-c", os.environ["STAND_IN"])
    children.wait_until(lambda: "words" in log.read_text())
    print("ready", flush=True)
    children.wait_until(lambda: False, seconds=60)

demo.demonstrate = demonstrate
sys.exit(demo.main())
"""
STAND_IN = """
import subprocess, sys, time
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(below.pid, "last words")
time.sleep({seconds})
"""
GOING_ON = """
import os
from pathlib import Path
from example_project import demo

folder = Path(os.environ["STAND_IN_LOG"]).parent / "demo"
with demo.Children() as children:
    sandbox = demo.start_sandbox(children, folder, port=0)
    newest = sandbox.conversations[0]["_id"]
    sandbox.rename(newest, "Renamed")
    try:
        demo.start_sandbox(children, folder, port=sandbox.port)
    except demo.DemoFailed as failure:
        print(str(failure).replace(str(sandbox.port), "8900"))
with demo.Children() as children:
    sandbox = demo.start_sandbox(children, folder, port=0)
    print(len(sandbox), sandbox.get(newest)["displayName"])
(folder / "orq.json").rename(folder / "db.sqlite3")  # as if it had been killed
with demo.Children() as children:
    sandbox = demo.start_sandbox(children, folder, port=0)
    print(len(sandbox), sandbox.get(newest), list(folder.iterdir()))
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a program; its child process ends after the given seconds."""
    started = []

    def start(program: str, *, seconds: float = 60) -> subprocess.Popen[str]:
        given = {"STAND_IN": STAND_IN.format(seconds=seconds), "STAND_IN_LOG": str(tmp_path / "one.log")}
        process = subprocess.Popen(  # noqa: S603  # one of the programs above
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | given,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def assert_nothing_is_left(tmp_path: Path) -> None:
    below = Path("/proc", (tmp_path / "one.log").read_text().split()[0], "cmdline")
    until = time.monotonic() + 10
    while below.exists() and below.read_bytes():  # the cmdline of a zombie is empty
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_children_and_their_children_without_a_traceback(start, tmp_path, number):
    program = start(ENDING)
    assert program.stdout.readline() == "ready\n"
    program.send_signal(number)
    output, _ = program.communicate(timeout=30)
    assert (output, program.returncode) == ("\nStopped.\n", 0)
    assert_nothing_is_left(tmp_path)


def test_a_child_that_ends_stops_all_and_is_named_with_its_last_words(start, tmp_path):
    program = start(ENDING, seconds=0.5)
    output, _ = program.communicate(timeout=30)
    words = (tmp_path / "one.log").read_text()
    assert output == f"ready\n\nLast lines of one.log:\n    {words}\nThe one process has ended.\n"
    assert program.returncode == 1
    assert_nothing_is_left(tmp_path)


def test_next_demo_has_the_conversations_of_the_last_and_new_ones_after_a_kill(start):
    output, _ = start(GOING_ON).communicate(timeout=60)
    assert output.splitlines() == [
        "Port 8900 is in use, perhaps by another demo. Stop that first.",
        "2500 Renamed",
        "2500 None []",
    ]
