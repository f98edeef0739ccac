"""An empty project with the wheel whose router keeps our tables in a second database."""

import pytest

from .project import Project

pytestmark = pytest.mark.xdist_group("acceptance")  # they share an environment that takes long to set up

SETTINGS = """
DATABASES["orq"] = DATABASES["default"] | {"NAME": BASE_DIR / "orq.sqlite3"}
DATABASE_ROUTERS = ["project.routers.OrqApart"]
"""
ROUTER = """
class OrqApart:
    def db_for_read(self, model, **hints):
        return "orq" if model._meta.app_label == "django_orq" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (app_label == "django_orq") is (db == "orq")
"""
# As a person's browser would: the list, a new conversation, and its page.
VISIT = """
from django.contrib.auth.models import User
from django.test import Client
from django_orq.models import Conversation
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.create_superuser("admin"))
pages = "/admin/django_orq/conversation/"
print(client.get(pages).status_code)
print(client.post(pages + "add/", {"display_name": "By a person"}).status_code)
row = Conversation.objects.get(display_name="By a person")
print(client.get(f"{pages}{row.pk}/change/").status_code)
print(client.get("/orq/conversations/").json()["results"][0]["display_name"])
"""


@pytest.fixture
def apart(project) -> Project:
    project.append("settings.py", SETTINGS)
    project.append("routers.py", ROUTER)
    project.manage("migrate")
    project.manage("migrate", "--database=orq")
    return project


def test_tables_are_where_the_router_says(apart):
    ours = {table for table in apart.tables("orq.sqlite3") if not table.startswith("sqlite_")}

    assert {"django_orq_conversation", "django_migrations"} < ours
    assert {table for table in ours if not table.startswith("django_orq_")} == {"django_migrations"}
    assert not [table for table in apart.tables() if table.startswith("django_orq_")]


def test_checks_pass_and_no_migration_is_missing(apart):
    everywhere = ("--database=default", "--database=orq")

    assert apart.manage("check", *everywhere) == "System check identified no issues (0 silenced).\n"
    assert apart.manage("makemigrations", "--check", "--dry-run") == "No changes detected\n"
    for database in everywhere:
        assert apart.manage("migrate", "--check", database) == ""


def test_commands_mirror_and_pages_show_it(apart, orq_sandbox):
    for number in range(3):
        orq_sandbox.add(f"Ticket {number}")

    assert apart.manage("orq_doctor").endswith("All is well.\n")
    assert "succeeded: 3 conversations" in apart.manage("orq_sync", "--full")
    visit = apart.manage("shell", "--verbosity=0", "--command", VISIT)
    assert visit.splitlines() == ["200", "302", "200", "By a person"]

    names = [row["display_name"] for row in apart.rows("conversation", "orq.sqlite3")]
    assert names == ["By a person", "Ticket 2", "Ticket 1", "Ticket 0"]
