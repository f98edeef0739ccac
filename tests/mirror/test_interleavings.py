"""Our changes while a page is being fetched are not undone by it. The verbs run on a separate connection."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet

from django_orq import mirror as verbs
from django_orq.exceptions import MirrorBehind
from django_orq.models import Conversation
from django_orq.testing import OrqSandbox

from ..ordering import meanwhile
from ..threads import in_thread
from ..values import set_columns
from ..walking import full_run, incremental_run, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def row(remote: OrqSandbox) -> Conversation:
    for name in ("Oldest", "Middle", "Newest"):
        remote.add(name)
    full_run()
    return Conversation.objects.get(display_name="Middle")


def while_a_page_is_under_way(remote: OrqSandbox, work: Callable[[], object]) -> None:
    """Run this after Orq has read the next page, but before we receive it."""

    def act(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("list", "after"):
            remote.on_request = None
            in_thread(work).join()

    remote.on_request = act


def rename(row: Conversation) -> None:
    verbs.rename_conversation(Conversation.objects.get(pk=row.pk), display_name="Renamed")


def delete(row: Conversation) -> None:
    verbs.delete_conversation(Conversation.objects.get(pk=row.pk))


@pytest.mark.parametrize("walk", [full_run, incremental_run])
def test_rename_is_not_undone(remote, row, walk):
    while_a_page_is_under_way(remote, lambda: rename(row))

    run = walk()

    row.refresh_from_db()
    assert (row.display_name, run.state, run.skipped) == ("Renamed", "succeeded", 1)
    assert mirror_equals(remote)


@pytest.mark.parametrize("walk", [full_run, incremental_run])
def test_delete_is_not_undone(remote, row, walk):
    while_a_page_is_under_way(remote, lambda: delete(row))

    run = walk()

    row.refresh_from_db()
    assert (row.state, run.state, run.skipped) == ("deleted", "succeeded", 1)
    assert mirror_equals(remote)


@pytest.mark.parametrize("walk", [full_run, incremental_run])
def test_create_is_not_taken_for_missing(remote, row, walk):
    while_a_page_is_under_way(remote, lambda: verbs.create_conversation(display_name="Created"))

    run = walk()

    assert (Conversation.objects.get(display_name="Created").state, run.missing) == ("live", 0)
    assert mirror_equals(remote)


def test_rename_in_orq_that_the_page_brings_is_not_lost_to_our_older_answer(remote, row):
    """Our answer is older than the page's, but arrives after a newer rename was mirrored."""

    def rename_elsewhere(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("update", "after"):
            remote.on_request = None
            remote.rename(row.remote_id, "By somebody else")
            in_thread(full_run).join()

    remote.on_request = rename_elsewhere
    verbs.rename_conversation(row, display_name="Ours")

    assert row.display_name == "By somebody else"
    assert mirror_equals(remote)


def test_delete_that_is_under_way_while_a_run_confirms_is_done_once(remote, row):
    remote.remove(row.remote_id)

    def delete_too(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("retrieve", "after"):
            remote.on_request = None
            in_thread(lambda: delete(row)).join()

    remote.on_request = delete_too
    run = full_run()

    assert (run.state, run.tombstoned) == ("succeeded", 0)
    row.refresh_from_db()
    assert row.state == "deleted"


def test_connections_of_threads_are_their_own(remote, row):
    """Otherwise these tests would prove nothing."""
    seen = []
    in_thread(lambda: seen.append(connection.connection)).join()

    assert seen[0] is not connection.connection


def rename_both_at_once(remote: OrqSandbox, row: Conversation) -> dict[str, verbs.Renamed]:
    """Two users rename, and both read before either writes; returns the result of each."""
    both_asked = threading.Barrier(2)
    outcomes = {}

    def meet(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("update", "before"):
            both_asked.wait(timeout=10)

    def rename_to(name: str) -> None:
        instance = Conversation.objects.get(pk=row.pk)
        outcomes[name] = verbs.rename_conversation(instance, display_name=name)

    remote.on_request = meet
    threads = [in_thread(partial(rename_to, name)) for name in ("Ours", "Theirs")]
    for thread in threads:
        thread.join()
    remote.on_request = None
    return outcomes


@pytest.mark.skipif(connection.vendor == "sqlite", reason="two connections can't use SQLite's memory at the same time")
@pytest.mark.parametrize("time", range(10))
def test_no_rename_of_two_at_once_is_lost_silently(remote, row, time):
    outcomes = rename_both_at_once(remote, row)

    (winner,) = {"Ours", "Theirs"} & {conversation["displayName"] for conversation in remote.conversations}
    loser = "Theirs" if winner == "Ours" else "Ours"
    assert outcomes[winner].replaced == loser or outcomes[loser].overtaken_by == winner
    assert mirror_equals(remote)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="two connections can't use SQLite's memory at the same time")
def test_tombstone_that_is_pruned_meanwhile_does_not_hide_what_became_of_the_request(remote, row):
    def prune(*args: object) -> None:
        QuerySet(Conversation).filter(remote_id=row.remote_id)._raw_delete("default")

    set_columns(row, deleted_at=row.mirrored_at)
    meanwhile(remote, "retrieve", "before", lambda: in_thread(prune).join())
    fetched = verbs.fetch_conversation(remote_id=row.remote_id)
    assert (fetched.display_name, fetched.deleted_at) == ("Middle", None)

    row = set_columns(fetched, deleted_at=fetched.mirrored_at)
    meanwhile(remote, "delete", "before", lambda: in_thread(prune).join())
    verbs.delete_conversation(row)
    assert len(remote) == 2


@pytest.mark.skipif(connection.vendor == "sqlite", reason="two connections can't use SQLite's memory at the same time")
def test_database_that_fails_after_a_sync_mirrored_our_rename_does_not_look_like_a_failed_rename(remote, row):
    def fail(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and "new_name" in sql and "old_name" not in sql:
            raise OperationalError("server closed the connection")
        return run(sql, params, many, context)

    meanwhile(remote, "update", "after", lambda: in_thread(full_run).join())

    with connection.execute_wrapper(fail), pytest.raises(MirrorBehind):
        verbs.rename_conversation(row, display_name="Renamed")

    assert remote.get(row.remote_id)["displayName"] == "Renamed"
