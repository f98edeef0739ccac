import pytest
from django.db import connection, transaction
from django.dispatch import Signal

from django_orq import mirror as verbs, signals
from django_orq.models import Conversation, ConversationChange, SyncRun
from django_orq.signals import conversation_created, sync_run_finished

from .walking import full_run

pytestmark = pytest.mark.django_db(transaction=True)

SIGNALS = {name: getattr(signals, f"conversation_{name}") for name in ("created", "updated", "deleted", "restored")}


@pytest.fixture
def changes() -> list[tuple[object, ...]]:
    """The changes that receivers were told: kind, both names, and actor."""
    return []


@pytest.fixture
def told(changes):
    """What receivers were called with: the kind, the conversation's name, and the run's key."""
    heard = []
    receivers = []
    for name, signal in SIGNALS.items():
        receivers.append((signal, listen(signal, name, heard, changes)))
    yield heard
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def listen(signal: Signal, name: str, heard: list, kinds: list):
    def receive(sender, conversation: Conversation, run, change: ConversationChange | None, **more: object) -> None:
        assert (sender, *more) == (Conversation, "signal")
        stored = Conversation.objects.get(pk=conversation.pk)  # committed, and as it is told
        assert (stored.display_name, stored.deleted_at) == (conversation.display_name, conversation.deleted_at)
        assert stored.indexed_state == conversation.indexed_state
        assert change == conversation.changes.last()  # committed, too
        heard.append((name, conversation.display_name, run and run.pk))
        if change is not None:
            kinds.append((change.kind, change.old_name, change.new_name, change.actor_name))

    signal.connect(receive, weak=False)
    return receive


def test_runs_tell_of_each_real_change_once(remote, told, changes):
    ids = [remote.add(name)["_id"] for name in "ABC"]
    first = full_run()
    remote.rename(ids[0], "A2")
    lost = remote.get(ids[1])
    remote.remove(ids[1])
    second = full_run()
    remote.add(lost.pop("displayName"), **lost)
    third = full_run()
    full_run()

    assert sorted(told[:3]) == [("created", name, first.pk) for name in "ABC"]
    assert told[3:] == [("updated", "A2", second.pk), ("deleted", "B", second.pk), ("restored", "B", third.pk)]
    assert changes == [("renamed", "A", "A2", ""), ("deleted", "B", None, ""), ("restored", "B", "B", "")]


def test_verbs_tell_of_their_changes_without_a_run(remote, told, changes):
    row = verbs.create_conversation(display_name="A", by="bob")
    verbs.rename_conversation(row, display_name="B", by="bob")
    verbs.refresh_conversation(row)
    verbs.delete_conversation(row)
    verbs.delete_conversation(row)

    assert told == [("created", "A", None), ("updated", "B", None), ("deleted", "B", None)]
    assert changes == [("created", None, "A", "bob"), ("renamed", "A", "B", "bob"), ("deleted", "B", None, "")]


def test_nothing_is_told_of_what_is_rolled_back(remote, told):
    with transaction.atomic():
        verbs.create_conversation(display_name="A")
        transaction.set_rollback(True)

    assert told == []


@pytest.mark.skipif(connection.vendor != "mysql", reason="the limit is the transaction's own, or there is none")
def test_receiver_that_calls_a_verb_leaves_the_limit_for_locks_as_it_was(remote):
    def rename(conversation: Conversation, **_more: object) -> None:
        verbs.rename_conversation(conversation, display_name="B")

    with connection.cursor() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = 37")
        conversation_created.connect(rename)
        try:
            verbs.create_conversation(display_name="A")
        finally:
            conversation_created.disconnect(rename)
        verbs.create_conversation(display_name="C")
        cursor.execute("SELECT @@innodb_lock_wait_timeout")
        assert cursor.fetchone() == (37,)

    assert sorted(Conversation.objects.values_list("display_name", flat=True)) == ["B", "C"]


def test_receiver_that_raises_stops_nobody(remote, told, caplog):
    def fail(**_kwargs: object) -> None:
        raise ZeroDivisionError

    conversation_created.connect(fail)
    try:
        verbs.create_conversation(display_name="A")
    finally:
        conversation_created.disconnect(fail)

    assert told == [("created", "A", None)]
    assert "ZeroDivisionError" in caplog.text


def test_missing_mark_is_no_change_that_is_told(remote, told):
    ids = [remote.add(name)["_id"] for name in "AB"]
    full_run()
    del told[:]
    remote.hidden = {ids[0]}
    full_run()
    remote.hidden = set()
    full_run()

    assert told == []


def test_run_that_ends_is_told_once_with_its_sender(remote):
    told = []

    def receive(sender, run: SyncRun, **more: object) -> None:
        told.append((sender, run.pk, run.state, *more))

    sync_run_finished.connect(receive)
    run = full_run()
    sync_run_finished.disconnect(receive)

    assert told == [(SyncRun, run.pk, "succeeded", "signal")]
