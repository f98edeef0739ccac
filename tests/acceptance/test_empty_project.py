"""A new project with the wheel passes the checks, migrates, and mirrors exactly what the SDK created."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ..conformance.names import NAMES
from ..programs import group_exists, wait_until

pytestmark = pytest.mark.xdist_group("acceptance")  # they share an environment that takes long to set up
ON_THE_WIRE = {
    "remote_id": "_id",
    "display_name": "displayName",
    "created_by_id": "createdById",
    "updated_by_id": "updatedById",
}
MIRRORED_AS = {*ON_THE_WIRE.values(), "createdAt", "updatedAt", "metadata"}


@pytest.fixture
def filled_sandbox(orq_sandbox, sdk_rc29):
    """A sandbox with 300 conversations, created without any of our code."""
    for name in NAMES:
        sdk_rc29.create(display_name=name)
    assert [one["displayName"] for one in orq_sandbox.conversations] == NAMES[::-1]
    return orq_sandbox


def moment(stored):
    """A time as Django stores it in SQLite, in UTC."""
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def from_milliseconds(number):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)


def assert_same(row, remote):
    assert {column: row[column] for column in ON_THE_WIRE} == {
        column: remote.get(name) for column, name in ON_THE_WIRE.items()
    }
    assert moment(row["remote_created_at"]) == from_milliseconds(remote["createdAt"])
    assert moment(row["remote_updated_at"]) == from_milliseconds(remote["updatedAt"])
    assert json.loads(row["metadata"] or "null") == remote.get("metadata")
    assert json.loads(row["extra"]) == {
        name: value for name, value in remote.items() if name not in {*MIRRORED_AS, "kind"}
    }


def assert_mirrored(project, sandbox):
    rows = project.rows("conversation")
    assert len(rows) == len(NAMES) == 300
    for row, remote in zip(rows, sandbox.conversations, strict=True):
        assert_same(row, remote)
        assert row["workspace"] == "default"
        assert row["mirrored_at"]
        assert (row["missing_since"], row["confirmed_at"], row["deleted_at"]) == (None, None, None)
    (run,) = project.rows("syncrun")
    assert (run["mode"], run["state"], run["seen"], run["created"]) == ("full", "succeeded", 300, 300)
    assert project.rows("rejectedpayload") == []


def test_project_uses_the_wheel_and_not_this_folder(project, programs):
    where = project.python("-c", "import django_orq; print(django_orq.__file__)")
    assert where.startswith(str(programs.parent))


def test_checks_pass_and_no_migration_is_missing(project):
    assert project.manage("check") == "System check identified no issues (0 silenced).\n"
    # The project's DEFAULT_AUTO_FIELD does not apply to our tables.
    assert project.manage("makemigrations", "--check", "--dry-run") == "No changes detected\n"


def test_migrations_go_to_the_end_and_back_to_nothing(project):
    project.manage("migrate")
    assert project.manage("migrate", "--check") == ""
    assert {"django_orq_conversation", "django_orq_syncrun"} < project.tables()

    project.manage("migrate", "django_orq", "zero")
    assert not [table for table in project.tables() if table.startswith("django_orq")]

    project.manage("migrate")
    assert "django_orq_conversation" in project.tables()


def test_command_mirrors_what_the_sdk_created(project, filled_sandbox):
    project.manage("migrate")
    assert project.manage("orq_doctor").endswith("No problems found.\n")
    summary = project.manage("orq_sync", "--full")
    assert "completed: 300 conversations, 3 pages, 3 requests; 300 created, 0 updated" in summary
    assert_mirrored(project, filled_sandbox)
    assert "300 unchanged" in project.manage("orq_sync", "--full")


def test_worker_mirrors_what_the_sdk_created_and_leaves_no_process(project, filled_sandbox):
    project.manage("migrate")
    with project.worker() as worker:
        assert wait_until(lambda: " ready." in worker.text), worker.text
        project.send("django_orq.sync_conversations", '{"mode": "full"}')
        assert wait_until(lambda: any(run["finished_at"] for run in project.rows("syncrun"))), worker.text
        assert group_exists(worker.process)
    assert_mirrored(project, filled_sandbox)
