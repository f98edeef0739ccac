"""What our commands have in common, in processes of their own, as people and cron run them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from django_orq.testing import OrqSandbox

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:1"

each_command = pytest.mark.parametrize(
    "command", ["orq_sync", "orq_doctor", "orq_prune --runs-older-than=90", "orq_health"]
)


def run(command: str, *words: str, into: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """``into`` is a file descriptor for what the command says."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.command_settings"} | variables
    return subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-m", "django", *command.split(), *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE if into is None else into,
        stderr=subprocess.PIPE,
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
    with pytest.raises(CommandError, match="argument --workspace: an alias is 1 to 100 characters"):
        call_command(*command.split(), "--workspace", alias)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The variables of a project with a database on disk, which is empty, and an Orq of its own."""
    path = tmp_path_factory.mktemp("project") / "db.sqlite3"
    with OrqSandbox(conversations=250) as remote:
        variables = {"DATABASE_URL": f"sqlite:///{path}", "ORQ_BASE_URL": remote.base_url}
        assert run("migrate", **variables).returncode == 0
        yield variables


@contextmanager
def nobody_reads():
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full_disk():
    with open("/dev/full", "w") as full:
        yield full.fileno()


@pytest.mark.parametrize("opened", [nobody_reads, full_disk])
def test_sync_whose_output_goes_nowhere_comes_to_its_end(project, opened: Callable):
    with opened() as into:
        outcome = run("orq_sync --full", into=into, **project)

    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "(full) succeeded" in run("orq_health", **project).stdout


@pytest.mark.parametrize("opened", [nobody_reads, full_disk])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_exit_code_tells_of_the_mirror_whether_or_not_anybody_reads(project, opened, unbuffered):
    with opened() as into:
        outcome = run("orq_health --max-age 0.001", into=into, PYTHONUNBUFFERED=unbuffered, **project)

    assert (outcome.returncode, outcome.stderr) == (1, "")


def test_characters_that_a_terminal_lacks_are_question_marks(project):
    outcome = run("orq_doctor", PYTHONIOENCODING="cp1252", **project | {"ORQ_BASE_URL": NOBODY})

    assert outcome.returncode == 1
    assert "? Run this command again once that is resolved." in outcome.stdout
    assert "Traceback" not in outcome.stderr
