"""Rows of the mirror without a server, and a sandbox for each test of a class."""

import unittest
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.test import TestCase, TransactionTestCase

from django_orq.exceptions import ServerError
from django_orq.mirror import create_conversation, fetch_conversation, refresh_conversation
from django_orq.models import Conversation, ConversationChange
from django_orq.testing import OrqTestCase, mirrored
from django_orq.testing.ids import milliseconds_of, ulid_of

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=UTC)


def time_of(row):
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds_of(ulid_of(row.remote_id)))


def columns_of(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def ended_by(test_case):
    """The outcome of the only test of a class, and that test."""
    (test,) = unittest.defaultTestLoader.loadTestsFromTestCase(test_case)
    outcome = unittest.TestResult()
    test(outcome)
    return outcome, test


def test_row_is_live_and_equals_what_the_database_has():
    before = datetime.now(UTC)
    row = mirrored("Refund")

    assert (str(row), row.workspace, row.state, row.indexed_state) == ("Refund", "default", "live", "live")
    assert row.remote_created_at == row.remote_updated_at == time_of(row)
    assert abs(row.mirrored_at - before) < timedelta(seconds=30)
    assert columns_of(row) == columns_of(Conversation.objects.live().get())
    assert not ConversationChange.objects.exists()


def test_row_has_the_columns_of_one_that_orq_sent(remote):
    sent = fetch_conversation(remote_id=remote.add("Refund")["_id"])
    row = mirrored("Refund", created_by_id=sent.created_by_id, updated_by_id=sent.updated_by_id)

    own = {"id", "remote_id", "remote_created_at", "remote_updated_at", "mirrored_at", "fingerprint"}
    same = columns_of(row).keys() - own
    assert {name: getattr(row, name) for name in same} == {name: getattr(sent, name) for name in same}


def test_any_column_can_be_set():
    given = {
        "workspace": "shop",
        "remote_id": "conv_01jj1hdhn79xas7a01wb3hysdb",
        "display_name": "Rückerstattung 🙂",
        "remote_created_at": LONG_AGO,
        "remote_updated_at": LONG_AGO + timedelta(days=1),
        "created_by_id": "anna",
        "updated_by_id": "ben",
        "metadata": {"entityId": None},
        "extra": {"pinned": [1, 2.5]},
        "fingerprint": -5,
        "mirrored_at": LONG_AGO + timedelta(days=2),
        "missing_since": LONG_AGO + timedelta(days=3),
        "confirmed_at": LONG_AGO + timedelta(days=4),
        "deleted_at": LONG_AGO + timedelta(days=5),
    }
    row = mirrored(**given)

    assert columns_of(row) == {"id": row.pk, "indexed_state": "deleted", **given}


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"missing_since": LONG_AGO}, "missing"),
        ({"missing_since": LONG_AGO, "confirmed_at": LONG_AGO}, "unlisted"),
        ({"deleted_at": LONG_AGO}, "deleted"),
    ],
)
def test_state_follows_from_the_columns(columns, state):
    row = mirrored(**columns)
    assert row.state == row.indexed_state == state


def test_ids_sort_by_creation_even_within_a_millisecond():
    rows = [mirrored(remote_created_at=LONG_AGO) for _ in range(3)]
    rows += [mirrored() for _ in range(3)]
    rows.insert(0, mirrored(remote_created_at=LONG_AGO - timedelta(milliseconds=1)))

    assert list(Conversation.objects.order_by("remote_id")) == rows
    assert time_of(rows[0]) == LONG_AGO - timedelta(milliseconds=1)
    assert time_of(rows[1]) == LONG_AGO


def test_conversation_that_was_updated_long_ago_was_not_created_later():
    row = mirrored(remote_updated_at=LONG_AGO)
    assert row.remote_created_at == row.remote_updated_at == time_of(row) == LONG_AGO


def test_unknown_columns_are_named_with_the_known_ones():
    with pytest.raises(TypeError, match=r"cannot set deleted, indexed_state\. .* confirmed_at, .* workspace\."):
        mirrored(deleted=True, indexed_state="deleted")

    assert not Conversation.objects.exists()


class OneWorkspaceTests(OrqTestCase, TestCase):
    def test_code_reaches_the_sandbox_and_faults_reach_the_code(self):
        refund = create_conversation(display_name="Refund")
        self.orq.fail("retrieve", status=500)
        with pytest.raises(ServerError):
            refresh_conversation(refund)

        assert [each["displayName"] for each in self.orq.conversations] == ["Refund"]
        assert Conversation.objects.get().display_name == "Refund"

    def test_every_test_has_an_empty_sandbox(self):
        self.test_code_reaches_the_sandbox_and_faults_reach_the_code()


class WithoutTransactionTests(OrqTestCase, TransactionTestCase):
    def test_code_reaches_the_sandbox(self):
        create_conversation(display_name="Refund")
        assert len(self.orq) == 1


def test_sandbox_stops_and_settings_return_if_the_set_up_of_a_subclass_fails():
    class BrokenTests(OrqTestCase):
        def setUp(self):
            super().setUp()
            self.seen = settings.ORQ_WORKSPACES["default"]["BASE_URL"]
            raise LookupError

        def test_nothing(self):
            pass

    outcome, test = ended_by(BrokenTests)

    assert len(outcome.errors) == 1
    assert "LookupError" in outcome.errors[0][1]
    assert test.seen == test.orq.base_url
    assert not hasattr(settings, "ORQ_WORKSPACES")
    with test.orq:  # its port is free again
        pass
