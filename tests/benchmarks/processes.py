"""Runs a module of the benchmark in a new process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str, **environment: str) -> Any:
    """Return what the module prints, as JSON."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "ORQ_"))}
    done = subprocess.run(  # noqa: S603 # our own module
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
        cwd=ROOT,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
