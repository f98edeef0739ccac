"""Written to ``orq``, read from ``replica``, which only has what `replicate` last copied."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.messages import constants
from django.db.models import QuerySet
from django.urls import reverse

from django_orq import mirror as verbs
from django_orq.exceptions import ConversationChanged
from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest, Requester
from django_orq.models import Conversation, Operation, SyncRun
from django_orq.sync import runs

from ..admin.test_admin import (
    LIST,
    choose,
    confirm,
    confirm_deletion,
    fields_of,
    page,
    said,
    save_name,
    save_new,
    text_of,
)
from ..walking import approve, configure, fill, full_run, incremental_run, work_on
from .doing import REST, names_in_orq, one, page_of, work_off
from .statements import Heard

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "orq", "replica"])

NOBODY = Requester()


@pytest.fixture(autouse=True)
def replicated(settings, told) -> Iterator[Heard]:
    settings.DATABASE_ROUTERS = ["tests.databases.routers.Replicated"]
    yield told
    assert told.written_in("replica") == []


@pytest.fixture
def rows(replicated, rows) -> list[Conversation]:
    """Three conversations, as the replica has them."""
    replicate()
    rows = [Conversation.objects.get(pk=row.pk) for row in rows]
    replicated["replica"].clear()
    return rows


def test_lists_of_conversations_show_what_the_replica_has(rows, admin_client, reader):
    verbs.create_conversation(display_name="Not there yet")

    for shown in (text_of(admin_client.get(LIST)), reader.get(REST).content.decode()):
        assert "Three" in shown
        assert "Not there yet" not in shown


def test_plot_counts_what_the_replica_has(rows, admin_client):
    verbs.create_conversation(display_name="Not there yet")

    assert "3 in all" in text_of(admin_client.get(LIST))


def test_syncing_and_the_verbs_read_nothing_from_the_replica(remote, replicated):
    ids = fill(remote, 5)
    full_run()
    incremental_run()
    remote.remove(ids[0])
    full_run()
    row = verbs.create_conversation(display_name="New")
    verbs.rename_conversation(row, display_name="Renamed")
    verbs.refresh_conversation(row)
    verbs.delete_conversation(row)
    verbs.fetch_conversation(remote_id=ids[1])

    assert replicated["replica"] == []


def test_operations_read_nothing_from_the_replica(rows, replicated, queue):
    rows = list(Conversation.objects.using("orq").order_by("-remote_id"))
    for verb in ("rename", "refresh", "delete", "create"):
        orders_of = [ItemRequest(conversation=row, new_name=f"{row} anew") for row in rows]
        operation, _is_new = operations.create_operation(verb, orders_of, by=NOBODY)
        assert set(work_off(operation).items.using("orq").values_list("state", flat=True)) == {"done"}

    assert replicated["replica"] == []


def test_row_that_was_read_from_the_replica_can_be_written(remote, rows):
    row = rows[0]

    verbs.rename_conversation(row, display_name="Renamed")

    assert (row.display_name, names_in_orq(remote)[0]) == ("Renamed", "Renamed")


def test_rename_of_a_row_that_lags_behind_is_a_conflict(remote, rows):
    stale = rows[0]
    verbs.rename_conversation(verbs.fetch_conversation(remote_id=stale.remote_id), display_name="Theirs")

    with pytest.raises(ConversationChanged):
        verbs.rename_conversation(stale, display_name="Mine")

    assert names_in_orq(remote)[0] == "Theirs"


def test_page_of_what_was_just_created_is_there(remote, admin_client, reader):
    response = save_new(admin_client, "New", _continue="1")
    shown = text_of(admin_client.get(response.url))
    assert "New" in shown

    created = reader.post(REST, {"display_name": "Another"}).json()
    assert reader.get(f"{REST}{created['remote_id']}/").json() == created


def test_page_shows_the_rename_that_it_has_just_done(remote, rows, admin_client):
    save_name(admin_client, rows[0], "Renamed", _continue="1")

    form = fields_of(admin_client.get(page(rows[0])))

    assert form["display_name"] == "Renamed"
    admin_client.post(page(rows[0]), form | {"display_name": "Once more", "_save": "Save"})
    assert names_in_orq(remote)[0] == "Once more"


def test_what_was_just_deleted_is_deleted_on_its_page_and_at_the_rest_door(rows, admin_client, reader):
    confirm_deletion(admin_client, rows[0])

    assert "_save" not in text_of(admin_client.get(page(rows[0])))
    (warning,) = said(confirm_deletion(admin_client, rows[0]), constants.WARNING)
    assert "Already deleted" in warning
    assert reader.get(one(rows[0])).json()["state"] == "deleted"


def test_operation_that_was_just_ordered_is_there_and_goes_on(remote, rows, admin_client, queue):
    response = confirm(
        admin_client,
        choose(admin_client, "rename_selected", rows),
        **{f"{row.pk}-display_name": "Same" for row in rows},
    )
    assert "0 of 3" in text_of(admin_client.get(response.url))

    work_off(Operation.objects.using("orq").get())

    assert "3 done" in text_of(admin_client.get(response.url))
    assert "3 done" in text_of(admin_client.get(reverse("admin:django_orq_operation_changelist")))
    assert names_in_orq(remote) == ["Same"] * 3


def test_action_acts_on_what_is_written_not_on_what_the_list_showed(remote, rows, admin_client):
    verbs.delete_conversation(rows[0])  # the replica has it alive

    (warning,) = said(choose(admin_client, "delete_selected", rows[:1]), constants.WARNING)

    assert "Already deleted" in warning


def test_run_that_was_just_started_is_there(remote, admin_client, reader, queue):
    response = admin_client.post(reverse("admin:django_orq_syncrun_start"), {"mode": "full", "workspace": "default"})
    run = SyncRun.objects.using("orq").get()

    assert response.url == page_of(run)
    assert admin_client.get(response.url).status_code == 200
    assert f"#{run.pk}" in text_of(admin_client.get(reverse("admin:django_orq_syncrun_changelist")))
    assert reader.get(f"/orq/sync-runs/{run.pk}/").status_code == 200


def test_run_is_approved_once_though_the_replica_does_not_know_yet(settings, remote, admin_client, replicated):
    configure(settings, MASS_DELETE_MIN=2, MASS_DELETE_SHARE=0)
    ids = fill(remote, 5)
    full_run()
    for id_ in ids[:3]:
        remote.remove(id_)
    held = full_run()
    assert held.needs_approval
    replicate()
    replicated["replica"].clear()
    approved = work_on(approve(held))

    assert (approved.state, approved.tombstoned) == ("succeeded", 3)
    assert runs.approve(held, reason="mass_delete", by="somebody") is None
    shown = text_of(admin_client.get(page_of(held)))
    assert "Approved by somebody" in shown
    assert page_of(held, "approve") not in shown


def replicate() -> None:
    """Copy our rows to the replica."""
    for model in reversed(list(apps.get_app_config("django_orq").get_models())):
        QuerySet(model, using="replica").delete()
    for model in apps.get_app_config("django_orq").get_models():
        QuerySet(model, using="replica").bulk_create(QuerySet(model, using="orq").order_by("pk"))
