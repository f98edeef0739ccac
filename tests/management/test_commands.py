"""What all commands have in common, tested in separate processes, as users and cron run them."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
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


@pytest.mark.parametrize(("command", "code"), [("orq_doctor", 2), ("orq_health", 1), ("orq_sync", 1)])
def test_invalid_settings_are_told_plainly(command, code):
    outcome = run(command, DATABASE_URL="sqlite://:memory:", ORQ_BASE_URL="orq")

    assert outcome.returncode == code
    assert "BASE_URL" in outcome.stderr + outcome.stdout
    assert "Traceback" not in outcome.stderr


LOGGING = {
    "version": 1,
    "formatters": {"events": {"format": "{event}", "style": "{"}},
    "handlers": {"events": {"class": "logging.StreamHandler", "formatter": "events"}},
    "loggers": {"django_orq": {"handlers": ["events"], "level": "WARNING"}},
}
"""Events on stderr, by name."""


@pytest.fixture
def variables(orq_sandbox, tmp_path):
    """The environment of commands, with a database of their own that has the tables."""
    named = {"DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3", "ORQ_BASE_URL": orq_sandbox.base_url}
    assert run("migrate", **named).returncode == 0
    return named


def refuse_the_key(orq_sandbox):
    orq_sandbox.fail("list", times=2, status=401)


def be_down(orq_sandbox):
    orq_sandbox.fail("list", times=2, status=503)


def list_junk(orq_sandbox):
    orq_sandbox.add("Refund")
    orq_sandbox.transform_list = lambda answer: answer | {"data": [*answer["data"], "junk"]}


@pytest.mark.parametrize(
    ("arrange", "event", "message"),
    [
        (refuse_the_key, "sync_run.failed", "CommandError: Sync run 1 failed: Orq rejects this site's API key."),
        (be_down, "sync_run.waits", "Orq failed with status 503 for the list request."),
        (list_junk, "sync_run.finished", "1 item from Orq was rejected"),
    ],
)
def test_failure_is_told_once_and_logged_where_the_project_configures_logging(
    orq_sandbox, variables, arrange, event, message
):
    arrange(orq_sandbox)

    told = run("orq_sync --full", **variables).stderr
    assert told.startswith(message)
    assert "sync run 1" not in told

    logged = run("orq_sync --full --fresh", **variables, LOGGING=json.dumps(LOGGING)).stderr
    assert logged.splitlines()[0] == event
    assert message.replace("run 1", "run 2") in logged


def test_database_that_fails_in_a_run_is_told_once_and_without_a_traceback(orq_sandbox, variables):
    orq_sandbox.add("Refund")
    execute(variables, "ALTER TABLE django_orq_conversation RENAME COLUMN extra TO other")

    told = run("orq_sync --full", **variables).stderr
    assert "(OperationalError)" in told
    assert "database error" not in told
    assert "Traceback" not in told


def test_event_that_the_command_does_not_show_is_printed_where_no_logging_is_configured(orq_sandbox, variables):
    be_down(orq_sandbox)
    run("orq_sync --full", **variables)
    execute(variables, "UPDATE django_orq_syncrun SET state = 'running', token = 'x', resume_at = NULL")
    execute(variables, "UPDATE django_orq_syncrun SET lease_until = '2026-01-01 00:00:00'")

    assert "sync run 1 resumed after its worker died\n" in run("orq_sync --full", **variables).stderr


def execute(variables, statement):
    with closing(sqlite3.connect(variables["DATABASE_URL"].removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(statement)
