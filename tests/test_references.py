"""What is found to refer to conversations, and where."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from django_orq.references import References

from .values import tombstone

ROOT = Path(__file__).parent.parent
PRUNE = """
import django; django.setup()
from django.core.management import call_command
from django.db import connections
for database in connections:
    call_command("migrate", database=database, verbosity=0)
from django_orq.models import Conversation
from tests.references.models import Unconstrained
from tests.values import tombstone
kept, gone = tombstone(1), tombstone(2)
Unconstrained.objects.create(conversation_id=kept.pk)
assert Unconstrained.objects.using("second").count() == 1
call_command("orq_prune", "--tombstones-older-than", "9", "--apply")
print(list(Conversation.objects.values_list("pk", flat=True)) == [kept.pk])
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


def test_what_refers_from_another_database_counts_too(tmp_path):
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.two_databases", "TWO_DATABASES": str(tmp_path)}
    outcome = subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-c", PRUNE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert outcome.stdout.splitlines() == [
        "deleted conversations: 1 deleted, 1 kept, since something needs or refers to them",
        "True",
    ], outcome.stderr
