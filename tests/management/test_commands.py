"""What all commands have in common, tested in separate processes, as users and cron run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:1"

each_command = pytest.mark.parametrize(
    "command", ["orq_sync", "orq_doctor", "orq_prune --runs-older-than=90", "orq_health"]
)


def run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.command_settings"} | variables
    return subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-m", "django", *command.split()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@each_command
@pytest.mark.parametrize("url", ["sqlite:////no-such-folder/db.sqlite3", "sqlite://:memory:"], ids=["gone", "empty"])
def test_database_out_of_reach_or_without_our_tables_is_told_plainly(command, url):
    outcome = run(command, DATABASE_URL=url, ORQ_BASE_URL=NOBODY)

    told = outcome.stdout + outcome.stderr
    assert outcome.returncode == 1
    assert "(OperationalError)" in told
    assert "Check DATABASES, and run “manage.py migrate”." in told
    assert "Traceback" not in told


@each_command
@pytest.mark.parametrize("alias", ["", "a" * 101, "two\nlines"], ids=["empty", "long", "lines"])
def test_what_can_be_no_alias_is_wrong_usage(command, alias):
    with pytest.raises(CommandError, match="--workspace: a workspace alias has 1 to 100 printable characters"):
        call_command(*command.split(), "--workspace", alias)
