import json
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils.functional import SimpleLazyObject

from django_orq import mirror as verbs
from django_orq.exceptions import (
    ConversationChanged,
    ConversationNotFound,
    InvalidName,
    MirrorBehind,
    MirrorContended,
    OrqError,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    TransportError,
)
from django_orq.models import Conversation, ConversationChange
from django_orq.testing import OrqSandbox

from ..threads import in_thread
from ..values import mirrored_values, set_columns
from ..walking import configure, full_run, milliseconds, mirror_equals

pytestmark = pytest.mark.django_db


@pytest.fixture
def row(remote: OrqSandbox) -> Conversation:
    remote.add("Refund", projectId="p-1")
    full_run()
    remote.clear_requests()
    return Conversation.objects.get()


def only(remote: OrqSandbox) -> dict[str, Any]:
    (conversation,) = remote.conversations
    return conversation


class TestCreate:
    def test_conversation_is_created_remotely_and_mirrored(self, remote):
        row = verbs.create_conversation(display_name="  New ticket  ")

        assert only(remote)["displayName"] == row.display_name == "New ticket"
        assert row.remote_id == only(remote)["_id"]
        assert milliseconds(row.remote_updated_at) == only(remote)["updatedAt"]
        assert remote.count() == 1

    def test_sync_that_follows_agrees(self, remote):
        verbs.create_conversation(display_name="New ticket")
        full_run()

        assert mirror_equals(remote)
        assert full_run().unchanged == 1

    @pytest.mark.parametrize("name", ["", "   ", "x" * 101, "two\nlines", "tab\tbed", "\0"])
    def test_name_that_orq_would_refuse_is_not_sent(self, remote, name):
        with pytest.raises(InvalidName):
            verbs.create_conversation(display_name=name)

        assert remote.count() == 0

    @pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 502, "applied": True}, {"cut": True}], ids=str)
    def test_unknown_outcome_is_said_never_sent_again_and_settled_by_the_next_sync(self, remote, fault):
        remote.fail("create", **fault)

        with pytest.raises(OutcomeUnknown):
            verbs.create_conversation(display_name="Perhaps")

        assert remote.count("create") == 1
        assert not Conversation.objects.exists()
        full_run()
        assert Conversation.objects.get().display_name == "Perhaps"

    @pytest.mark.parametrize("deleted", [False, True])
    def test_answer_that_shows_an_older_conversation_leaves_the_outcome_unknown(self, remote, deleted):
        older = verbs.create_conversation(display_name="Older")
        body = json.dumps(only(remote) | {"displayName": "New"})
        if deleted:
            verbs.delete_conversation(older)
        remote.fail("create", status=201, body=body, headers={"Content-Type": "application/json"})

        with pytest.raises(OutcomeUnknown, match="shows an older conversation"):
            verbs.create_conversation(display_name="New")

        assert Conversation.objects.get().display_name == "Older"
        assert [change.kind for change in ConversationChange.objects.order_by("pk")] == ["created", "deleted"][
            : 1 + deleted
        ]

    def test_refused_create_leaves_nothing(self, remote):
        remote.fail("create", status=429, headers={"Retry-After": "7"})

        with pytest.raises(RateLimited) as refusal:
            verbs.create_conversation(display_name="New")

        assert refusal.value.retry_after == 7
        assert not Conversation.objects.exists()

    def test_requester_who_cannot_be_read_is_noticed_before_anything_is_sent(self, remote):
        def lose_the_session() -> None:
            raise ConnectionError("the session store is unreachable")

        with pytest.raises(ConnectionError, match="session store"):
            verbs.create_conversation(display_name="New", by=SimpleLazyObject(lose_the_session))

        assert remote.requests == []

    def test_row_that_cannot_follow_is_not_taken_for_a_failed_create(self, remote, monkeypatch):
        """The database is patched: three collisions of two writers in a row cannot be staged."""

        def contend(*args: Any, **kwargs: Any) -> None:
            raise MirrorContended

        monkeypatch.setattr(verbs, "reconcile", contend)

        with pytest.raises(MirrorBehind, match="Do not repeat it"):
            verbs.create_conversation(display_name="New")

        assert only(remote)["displayName"] == "New"

    def test_database_that_fails_after_orq_did_it_does_not_look_like_a_failed_create(self, remote, caplog):
        def fail_to_insert(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith("INSERT"):
                raise OperationalError("disk I/O error")
            return run(sql, params, many, context)

        with connection.execute_wrapper(fail_to_insert), pytest.raises(MirrorBehind) as behind:
            verbs.create_conversation(display_name="New")

        assert only(remote)["displayName"] == "New"
        assert behind.value.remote_id == only(remote)["_id"]
        (record,) = [record for record in caplog.records if record.event == "request.not_mirrored"]
        assert "disk I/O error" in str(record.exc_info)

    def test_database_that_fails_from_the_response_on_does_not_look_like_a_failed_create(self, remote):
        def fail(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if remote.count("create"):
                raise OperationalError("server closed the connection")
            return run(sql, params, many, context)

        with connection.execute_wrapper(fail), pytest.raises(MirrorBehind):
            verbs.create_conversation(display_name="New")

    @pytest.mark.django_db(transaction=True)
    def test_wait_that_cannot_be_kept_does_not_hide_the_outcome(self, remote, caplog):
        remote.fail("create", status=502, applied=True, headers={"Retry-After": "20"})

        with connection.execute_wrapper(fail_to_keep_waits), pytest.raises(OutcomeUnknown) as unknown:
            verbs.create_conversation(display_name="Perhaps")

        assert unknown.value.retry_after == 20
        assert "request.wait_not_kept" in [record.event for record in caplog.records]

    def test_rolled_back_transaction_of_the_caller_is_healed_by_the_next_sync(self, remote):
        with transaction.atomic():
            verbs.create_conversation(display_name="Rolled back")
            transaction.set_rollback(True)
        assert not Conversation.objects.exists()

        full_run()

        assert mirror_equals(remote)


class TestRename:
    def test_conversation_is_renamed_remotely_and_mirrored(self, remote, row):
        renamed = verbs.rename_conversation(row, display_name=" Paid back ")

        assert (renamed.conversation, renamed.replaced, renamed.overtaken_by) == (row, None, None)
        assert row.display_name == only(remote)["displayName"] == "Paid back"
        assert [request.operation for request in remote.requests] == ["retrieve", "update"]
        assert mirror_equals(remote)

    @pytest.mark.parametrize("name", ["the old one", "a third one"])
    def test_answer_with_another_name_leaves_the_outcome_open(self, remote, row, name):
        answered = remote.get(row.remote_id)
        if name == "a third one":
            answered |= {"displayName": "Third", "updatedAt": answered["updatedAt"] + 1}
        headers = {"Content-Type": "application/json"}
        remote.fail("update", status=200, body=json.dumps(answered), headers=headers)

        with pytest.raises(OutcomeUnknown, match="shows another name"):
            verbs.rename_conversation(row, display_name="Paid back")

        assert not row.changes.exists()

    def test_extra_fields_of_other_answers_leave_the_lists_alone(self, remote, row):
        verbs.rename_conversation(row, display_name="Paid back")

        assert row.extra == {"projectId": "p-1"}

    def test_name_that_orq_has_already_is_not_sent_again(self, remote, row):
        remote.rename(row.remote_id, "Paid back")

        renamed = verbs.rename_conversation(row, display_name="Paid back")

        assert remote.count("update") == 0
        assert row.display_name == "Paid back"
        assert not renamed.was_ours

    def test_newer_name_is_not_overwritten(self, remote, row):
        remote.rename(row.remote_id, "Somebody else's")

        with pytest.raises(ConversationChanged) as conflict:
            verbs.rename_conversation(row, display_name="Mine")

        assert conflict.value.display_name == row.display_name == "Somebody else's"
        assert milliseconds(conflict.value.updated_at) == only(remote)["updatedAt"]
        assert remote.count("update") == 0
        assert Conversation.objects.get().display_name == "Somebody else's"

    def test_newer_name_is_replaced_by_one_who_saw_it(self, remote, row):
        remote.rename(row.remote_id, "Somebody else's")
        with pytest.raises(ConversationChanged) as conflict:
            verbs.rename_conversation(row, display_name="Mine")

        verbs.rename_conversation(row, display_name="Mine", expected_updated_at=conflict.value.updated_at)

        assert only(remote)["displayName"] == "Mine"

    def test_change_that_left_the_name_alone_is_no_conflict(self, remote, row):
        remote.rename(row.remote_id, "Refund")

        verbs.rename_conversation(row, display_name="Mine")

        assert only(remote)["displayName"] == "Mine"

    @pytest.mark.parametrize("ahead", [timedelta(milliseconds=1), timedelta(hours=5)])
    def test_expectation_that_nobody_can_have_seen_protects_the_name(self, remote, row, ahead):
        remote.rename(row.remote_id, "Somebody else's")
        seen = datetime.fromtimestamp(only(remote)["updatedAt"] / 1000, UTC)

        with pytest.raises(ConversationChanged):
            verbs.rename_conversation(row, display_name="Mine", expected_updated_at=seen + ahead)

        assert only(remote)["displayName"] == "Somebody else's"

    @pytest.mark.parametrize(("restored", "replaces"), [("Refund", True), ("As it was in the backup", False)])
    def test_where_orq_was_set_back_only_the_name_that_was_seen_is_replaced(self, remote, row, restored, replaces):
        set_columns(row, remote_updated_at=row.remote_updated_at + timedelta(days=1))
        remote.rename(row.remote_id, restored)

        with nullcontext() if replaces else pytest.raises(ConversationChanged):
            verbs.rename_conversation(row, display_name="Mine")

        assert (only(remote)["displayName"] == "Mine") is replaces

    def test_older_expectation_than_the_instance_lets_time_alone_decide(self, remote, row):
        seen = row.remote_updated_at
        remote.rename(row.remote_id, "Refund")
        full_run()
        row.refresh_from_db()

        with pytest.raises(ConversationChanged):
            verbs.rename_conversation(row, display_name="Mine", expected_updated_at=seen)

    def test_expectation_without_a_time_zone_is_refused_before_anything_is_sent(self, remote, row):
        seen = row.remote_updated_at.replace(tzinfo=None)

        with pytest.raises(ValueError, match="time zone"):
            verbs.rename_conversation(row, display_name="Mine", expected_updated_at=seen)

        assert not remote.requests

    def test_conversation_that_orq_does_not_know_is_missing_not_deleted(self, remote, row):
        before = mirrored_values(row)
        remote.remove(row.remote_id)

        with pytest.raises(ConversationNotFound):
            verbs.rename_conversation(row, display_name="Mine")

        assert row.state == "missing"
        assert mirrored_values(row) | {"missing_since": None} == before

    def test_conversation_deleted_between_question_and_rename_is_missing(self, remote, row):
        remote.fail("update", status=404, body='{"message": "gone"}')

        with pytest.raises(ConversationNotFound):
            verbs.rename_conversation(row, display_name="Mine")

        assert Conversation.objects.missing().get() == row

    @pytest.mark.parametrize(
        ("operation", "fault", "error"),
        [
            ("retrieve", {"status": 500}, ServerError),
            ("update", {"status": 500}, ServerError),
            ("update", {"status": 429}, RateLimited),
            ("retrieve", {"drop": "before"}, TransportError),
            ("update", {"drop": "before"}, OutcomeUnknown),
        ],
        ids=str,
    )
    def test_failure_leaves_the_row_as_it_was(self, remote, row, operation, fault, error):
        before = mirrored_values(row)
        remote.fail(operation, **fault)

        with pytest.raises(error):
            verbs.rename_conversation(row, display_name="Mine")

        row.refresh_from_db()
        assert mirrored_values(row) == before

    def test_rename_whose_answer_was_lost_is_settled_by_asking(self, remote, row):
        remote.fail("update", drop="after")

        verbs.rename_conversation(row, display_name="Mine")

        assert row.display_name == "Mine"
        assert [request.operation for request in remote.requests] == ["retrieve", "update", "retrieve"]

    @pytest.mark.django_db(transaction=True)
    def test_rename_says_which_name_came_between_and_was_replaced(self, remote, row):
        other = Conversation.objects.get()

        def rename_between(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("update", "before"):
                remote.on_request = None
                in_thread(lambda: verbs.rename_conversation(other, display_name="Theirs")).join()

        remote.on_request = rename_between
        renamed = verbs.rename_conversation(row, display_name="Mine")

        assert (renamed.replaced, renamed.overtaken_by) == ("Theirs", None)
        assert row.display_name == only(remote)["displayName"] == "Mine"

    @pytest.mark.django_db(transaction=True)
    def test_row_that_cannot_follow_still_says_which_name_was_replaced(self, remote, row, monkeypatch):
        """The database is patched: repeated collisions of two writers cannot be staged."""
        other = Conversation.objects.get()

        def contend(*args: Any, **kwargs: Any) -> None:
            raise MirrorContended

        def rename_between(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("update", "before"):
                remote.on_request = None
                in_thread(lambda: verbs.rename_conversation(other, display_name="Theirs")).join()
                monkeypatch.setattr(verbs, "reconcile", contend)

        remote.on_request = rename_between
        with pytest.raises(MirrorBehind) as behind:
            verbs.rename_conversation(row, display_name="Mine")

        assert (behind.value.remote_id, behind.value.replaced) == (row.remote_id, "Theirs")

    @pytest.mark.django_db(transaction=True)
    def test_row_that_cannot_follow_does_not_take_a_later_name_for_a_replaced_one(self, remote, row, monkeypatch):
        """The database is patched, as above."""
        other = Conversation.objects.get()

        def contend(*args: Any, **kwargs: Any) -> None:
            raise MirrorContended

        def rename_after(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("update", "after"):
                remote.on_request = None
                in_thread(lambda: rename_once_more(other)).join()
                monkeypatch.setattr(verbs, "reconcile", contend)

        def rename_once_more(row: Conversation) -> None:
            verbs.refresh_conversation(row)
            verbs.rename_conversation(row, display_name="Theirs")

        remote.on_request = rename_after
        with pytest.raises(MirrorBehind) as behind:
            verbs.rename_conversation(row, display_name="Mine")

        assert behind.value.replaced is None
        assert Conversation.objects.get().display_name == "Theirs"

    @pytest.mark.django_db(transaction=True)
    def test_rename_says_that_another_has_replaced_it_already(self, remote, row):
        """Both read; we rename, then they do, and their response is mirrored before ours."""
        script = Overtaking(remote, Conversation.objects.get())
        renamed = verbs.rename_conversation(row, display_name="Mine")

        assert (renamed.replaced, renamed.overtaken_by) == (None, "Theirs")
        assert row.display_name == only(remote)["displayName"] == "Theirs"
        assert script.theirs_replaced is None

    @pytest.mark.django_db(transaction=True)
    def test_rename_says_what_it_replaced_though_a_sync_mirrored_ours_first(self, remote, row):
        """We read; they rename and are mirrored; we rename, and a sync mirrors our name before our answer arrives."""
        other = Conversation.objects.get()

        def interfere(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("update", "before"):
                remote.on_request = sync_after
                in_thread(lambda: verbs.rename_conversation(other, display_name="Theirs")).join()
                remote.on_request = sync_after_ours

        def sync_after(operation: str | None, phase: str) -> None:
            """Their request passes."""

        def sync_after_ours(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("update", "after"):
                remote.on_request = None
                in_thread(full_run).join()

        remote.on_request = interfere
        renamed = verbs.rename_conversation(row, display_name="Mine")

        assert (renamed.replaced, renamed.overtaken_by) == ("Theirs", None)


class Overtaking:
    """Holds our PATCH until the other has read, and its response until the other is mirrored."""

    def __init__(self, remote: OrqSandbox, other: Conversation) -> None:
        self.other = other
        self.they_asked, self.we_renamed = threading.Event(), threading.Event()
        self.patches = 0
        self.theirs_replaced: str | None = "never ran"
        self.thread: threading.Thread | None = None
        remote.on_request = self

    def __call__(self, operation: str | None, phase: str) -> None:
        if operation == "update":
            ours = threading.current_thread() is self._thread_of_ours(phase)
            {("before", True): self.hold_ours, ("after", True): self.hold_answer}.get(
                (phase, ours), self.hold_theirs
            )()

    def _thread_of_ours(self, phase: str) -> threading.Thread:
        if phase == "before":
            self.patches += 1
            if self.patches == 1:
                self.our_thread = threading.current_thread()
        return self.our_thread

    def hold_ours(self) -> None:
        self.thread = in_thread(self.rename_theirs)
        assert self.they_asked.wait(10)

    def hold_theirs(self) -> None:
        self.they_asked.set()
        assert self.we_renamed.wait(10)

    def hold_answer(self) -> None:
        self.we_renamed.set()
        assert self.thread is not None
        self.thread.join(10)

    def rename_theirs(self) -> None:
        self.theirs_replaced = verbs.rename_conversation(self.other, display_name="Theirs").replaced


def fail_to_keep_waits(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """As if the database were locked or dead."""
    if "workspacewait" in sql and not sql.startswith("SELECT"):
        raise OperationalError("database is locked")
    return run(sql, params, many, context)


def test_rename_asks_again_after_a_long_sleep_between_question_and_answer(remote, row, monkeypatch):
    """As in a suspended process, whose first read may be long out of date."""
    monkeypatch.setattr(verbs, "FRESH", timedelta(milliseconds=200))
    look = verbs._has_changed

    def sleep_then_look(*arguments):
        changed = look(*arguments)
        monkeypatch.setattr(verbs, "_has_changed", look)
        remote.rename(row.remote_id, "Theirs")
        time.sleep(0.3)
        return changed

    monkeypatch.setattr(verbs, "_has_changed", sleep_then_look)

    with pytest.raises(ConversationChanged):
        verbs.rename_conversation(row, display_name="Mine")

    assert (remote.count("retrieve"), remote.count("update")) == (2, 0)
    assert row.display_name == "Theirs"


class TestDelete:
    def test_conversation_is_deleted_remotely_and_its_row_is_a_tombstone(self, remote, row):
        assert verbs.delete_conversation(row)

        assert len(remote) == 0
        assert row.state == "deleted"
        assert row.mirrored_at == row.deleted_at
        assert row.display_name == "Refund"

    def test_conversation_that_is_gone_already_counts_as_done(self, remote, row):
        remote.remove(row.remote_id)

        assert not verbs.delete_conversation(row)

        assert Conversation.objects.deleted().get() == row

    @pytest.mark.parametrize(
        ("fault", "error"), [({"status": 500}, ServerError), ({"drop": "before"}, TransportError)], ids=str
    )
    def test_failure_leaves_the_row_as_it_was(self, remote, row, fault, error):
        before = mirrored_values(row)
        remote.fail("delete", **fault)

        with pytest.raises(error):
            verbs.delete_conversation(row)

        row.refresh_from_db()
        assert mirrored_values(row) == before

    def test_page_that_was_under_way_does_not_bring_it_back(self, remote, row):
        page = remote.conversations
        verbs.delete_conversation(row)
        set_columns(row, mirrored_at=row.mirrored_at + timedelta(seconds=60))  # the page was asked for before that
        remote.transform_list = lambda answer: answer | {"data": page}

        run = full_run()

        assert (run.skipped, Conversation.objects.deleted().count()) == (1, 1)


class TestRefreshAndFetch:
    def test_refresh_takes_what_orq_has_now(self, remote, row):
        remote.rename(row.remote_id, "Newer")

        verbs.refresh_conversation(row)

        assert row.display_name == "Newer"

    def test_refresh_of_an_unknown_conversation_marks_it_missing(self, remote, row):
        remote.remove(row.remote_id)

        with pytest.raises(ConversationNotFound):
            verbs.refresh_conversation(row)

        assert row.state == "missing"

    def test_fetch_mirrors_one_that_the_mirror_does_not_know(self, remote):
        added = remote.add("Alone")

        row = verbs.fetch_conversation(remote_id=added["_id"])

        assert (row.display_name, Conversation.objects.get()) == ("Alone", row)

    def test_fetch_of_one_that_the_mirror_knows_refreshes_it(self, remote, row):
        remote.rename(row.remote_id, "Newer")

        assert verbs.fetch_conversation(remote_id=row.remote_id).display_name == "Newer"

    @pytest.mark.parametrize("remote_id", ["conv_x\0", "../x", "", "x" * 100_000, None])
    def test_fetch_of_what_is_no_id_asks_nobody(self, remote, remote_id):
        with pytest.raises(ValueError, match="remote_id must be"):
            verbs.fetch_conversation(remote_id=remote_id)

        assert remote.count() == 0

    def test_fetch_of_an_unknown_id_stores_nothing(self, remote):
        with pytest.raises(ConversationNotFound):
            verbs.fetch_conversation(remote_id="conv_01jj1hdhn79xas7a01wb3hysdb")

        assert not Conversation.objects.exists()


def test_interactive_verbs_try_once_and_background_ones_as_configured(remote, settings, row):
    configure(settings, RETRIES={"attempts": 3, "initial_interval": 0.001})
    remote.fail("retrieve", status=503, times=None)
    for interactive, attempts in ((True, 1), (False, 3)):
        remote.clear_requests()
        with pytest.raises(OrqError):
            verbs.refresh_conversation(row, interactive=interactive)
        assert remote.count("retrieve") == attempts


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["create", "rename", "delete", "refresh", "fetch"])
def test_no_request_goes_out_inside_a_transaction_of_ours(remote, row, verb, monkeypatch):
    """Observed at the socket."""
    from urllib3.connection import HTTPConnection  # noqa: PLC0415 # the service alone may know it

    in_transaction = []
    request = HTTPConnection.request

    def watch(*args: Any, **kwargs: Any) -> None:
        in_transaction.append(connection.in_atomic_block)
        request(*args, **kwargs)

    monkeypatch.setattr(HTTPConnection, "request", watch)
    calls = {
        "create": lambda: verbs.create_conversation(display_name="New"),
        "rename": lambda: verbs.rename_conversation(row, display_name="New"),
        "delete": lambda: verbs.delete_conversation(row),
        "refresh": lambda: verbs.refresh_conversation(row),
        "fetch": lambda: verbs.fetch_conversation(remote_id=row.remote_id),
    }
    calls[verb]()

    assert in_transaction
    assert not any(in_transaction)
