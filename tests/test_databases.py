"""Runs the tests for projects with several databases in a separate process, because their settings differ."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_projects_with_several_databases():
    command = [sys.executable, "-m", "pytest", "--ds=tests.databases.settings", "tests/databases"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    outcome = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 # ours

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert " passed" in outcome.stdout
