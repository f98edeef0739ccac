"""Rows are deleted, except those that something protects."""

import pytest
from django.db import connection, transaction

from django_orq.models import SyncRun
from django_orq.store.database import all_runs
from django_orq.store.deletion import delete_unless_refused

from ..references.models import Report
from ..threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ended() -> list[int]:
    return [SyncRun.objects.create(workspace="default", mode="full", state="failed").pk for _time in range(5)]


@pytest.mark.parametrize("protected", [[], [0], [3], [1, 3], [0, 1, 2, 3, 4]], ids=str)
def test_all_go_but_for_those_that_the_project_protects(ended, protected):
    for place in protected:
        Report.objects.create(run_id=ended[place])

    assert delete_unless_refused(all_runs(), ended) == 5 - len(protected)
    assert list(SyncRun.objects.order_by("pk").values_list("pk", flat=True)) == [ended[place] for place in protected]


def test_none_is_none():
    assert delete_unless_refused(all_runs(), []) == 0


def test_those_that_are_none_of_these_rows_any_more_stay(ended):
    SyncRun.objects.filter(pk=ended[1]).update(state="queued")

    assert delete_unless_refused(all_runs().filter(state="failed"), ended) == 4


def test_locks_begin_with_what_the_database_can_go_on_from(ended, statements):
    with statements() as executed:
        delete_unless_refused(all_runs(), ended)

    if connection.features.has_select_for_update_skip_locked:
        assert executed[0].endswith("SKIP LOCKED")
    else:
        assert executed[0].startswith("UPDATE")


def test_what_another_process_has_locked_is_not_waited_for(ended):
    if connection.vendor != "postgresql":
        pytest.skip(
            "SQLite locks no rows, and MariaDB, where they are so few, reads and locks them all to delete some"
        )
    deleted: list[int] = []

    with transaction.atomic():
        SyncRun.objects.select_for_update().get(pk=ended[0])
        in_thread(lambda: deleted.append(delete_unless_refused(all_runs(), ended))).join()

    assert deleted == [4]
    assert SyncRun.objects.get().pk == ended[0]
