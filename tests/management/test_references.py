"""What is found to refer to conversations, and where."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from django_orq.management.references import References

from ..values import tombstone

ROOT = Path(__file__).parents[2]
PRUNE = """
import django; django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
for database in connections:
    call_command("migrate", database=database, verbosity=0)
from django_orq.models import Conversation
from tests.references.models import Label, Unconstrained
from tests.values import tombstone
kept, gone = tombstone(1), tombstone(2)
{refer}
call_command("orq_prune", "--tombstones-older-than", "9", "--apply")
print(list(Conversation.objects.values_list("pk", flat=True)) == [kept.pk])
"""
BY_A_ROUTER = """
Unconstrained.objects.create(conversation_id=kept.pk)
assert Unconstrained.objects.using("second").count() == 1
"""
BY_HAND = """
Unconstrained.objects.using("second").create(conversation_id=kept.pk)
"""
BY_CONTENT_TYPE = """
ContentType.objects.using("second").filter(model="conversation").update(model="something_else")
Label.objects.using("second").create(labelled=kept)
"""
BY_CONTENT_TYPE_OF_THERE = """
ContentType.objects.using("second").filter(model="conversation").update(model="something_else")
content_type = ContentType.objects.using("second").create(app_label="django_orq", model="conversation")
Label.objects.using("second").create(content_type=content_type, object_id=kept.pk)
"""
WITHOUT_CONTENT_TYPES = """
content_type = ContentType.objects.get(model="conversation").pk
connections["second"].disable_constraint_checking()
with connections["second"].cursor() as cursor:
    cursor.execute("DROP TABLE django_content_type")
Label.objects.using("second").create(content_type_id=content_type, object_id=kept.pk)
"""


@pytest.mark.django_db
def test_each_way_to_refer_costs_one_statement(statements):
    """As many for five hundred conversations as for one."""
    rows = [tombstone(number) for number in range(1, 4)]
    references = References()
    assert references.to(rows[:1]) == set()
    with statements() as few:
        references.to(rows[:1])
    with statements() as many:
        references.to(rows)

    assert len(few) == len(many) == len(WAYS)


WAYS = (
    *("Reference", "Dependent", "Protector", "Bundle", "Unconstrained", "Label", "Tag", "Mention", "TicketReference"),
    *("LongNamed", "LongNamed, generic"),
)
"""The models that refer to conversations."""


@pytest.mark.django_db
def test_alias_without_a_database_holds_nothing(monkeypatch):
    """As a project has it for ``default`` whose routers name another one for everything."""
    row = tombstone()
    unused = connections.configure_settings({"default": {}})["default"]
    monkeypatch.setitem(connections.settings, "unused", unused)

    assert References().to([row]) == set()


@pytest.mark.parametrize(
    ("refer", "routers"),
    [
        (BY_A_ROUTER, "tests.two_databases.Router"),
        (BY_HAND, ""),
        (BY_CONTENT_TYPE, ""),
        (BY_CONTENT_TYPE_OF_THERE, ""),
        (WITHOUT_CONTENT_TYPES, ""),
    ],
    ids=["router", "by hand", "content type", "content type of there", "no content types there"],
)
def test_what_refers_from_another_database_counts_too(tmp_path, refer, routers):
    told = {"DJANGO_SETTINGS_MODULE": "tests.two_databases", "TWO_DATABASES": str(tmp_path), "ROUTERS": routers}
    command = [sys.executable, "-c", PRUNE.format(refer=refer)]
    outcome = subprocess.run(  # noqa: S603 # our own words
        command, cwd=ROOT, env=os.environ | told, capture_output=True, text=True, check=False
    )

    assert outcome.stdout.splitlines() == [
        "deleted conversations: 1 deleted, 1 kept, since something needs or refers to them",
        "True",
    ], outcome.stderr
