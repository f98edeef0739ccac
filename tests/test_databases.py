"""Projects with several databases: our tables apart from the users', and read from a replica that lags behind."""

import json
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import constants
from django.core.management import call_command
from django.db import connections
from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.test import APIClient

from django_orq import mirror, operations, orders, runs, tasks
from django_orq.exceptions import ConversationChanged
from django_orq.models import Conversation, Operation, SyncRun
from django_orq.orders import Order, Orderer
from django_orq.signals import conversation_updated

from .celery import app
from .references.models import Reference
from .statements import Heard, heard
from .test_admin import (
    ADD,
    LIST,
    choose,
    confirm,
    confirm_deletion,
    fields_of,
    mirrored,
    page,
    said,
    save_name,
    save_new,
    text_of,
)
from .walking import configure, full_run, incremental_run, mirror_equals, work_on

REST = "/orq/conversations/"
AUTOCOMPLETE = reverse("admin:autocomplete")
NOBODY = Orderer()


def one_of_ours(row: Conversation) -> str:
    return f"{REST}{row.remote_id}/"


def page_of(work: SyncRun | Operation, name: str = "change") -> str:
    return reverse(f"admin:django_orq_{work._meta.model_name}_{name}", args=[work.pk])


def names_in_orq(remote) -> list[str]:
    return [conversation["displayName"] for conversation in remote.conversations]


def work_off(operation: Operation) -> Operation:
    while not operation.is_finished:
        operation = operations.work_slice(operation.pk)
    return operation


def forms_of(client, row: Conversation) -> dict[str, str]:
    return fields_of(client.get(page(row)))


@pytest.fixture
def reader(admin_user) -> APIClient:
    client = APIClient()
    client.force_authenticate(admin_user)
    return client


@pytest.mark.django_db(transaction=True, databases=["default", "orq"])
class TestApart:
    """Our tables in ``orq``; users, their sessions and the admin's history in ``default``."""

    @pytest.fixture(autouse=True)
    def apart(self, settings, transactional_db) -> Iterator[None]:
        settings.DATABASE_ROUTERS = ["tests.routers.Apart"]
        with heard() as said_to:
            yield
        assert said_to.ours_in("default") == []
        assert said_to.of_the_rest_in("orq") == []

    @pytest.fixture
    def rows(self, remote) -> list[Conversation]:
        """Three conversations, the newest first."""
        return [mirrored(remote, name) for name in ("One", "Two", "Three")][::-1]

    def test_tables_of_the_users_are_in_the_other_database_alone(self):
        tables = connections["orq"].introspection.table_names()

        assert "django_orq_conversation" in tables
        assert not [table for table in tables if table.startswith(("auth_", "django_admin", "django_session"))]

    def test_runs_mirror_everything_and_find_out_about_deletions(self, remote):
        ids = [remote.add(f"Ticket {number}")["_id"] for number in range(5)]
        assert full_run().created == 5

        remote.add("New")
        assert incremental_run().created == 1
        remote.remove(ids[0])
        remote.rename(ids[1], "Renamed")
        run = full_run()

        assert (run.state, run.updated, run.tombstoned) == ("succeeded", 1, 1)
        assert mirror_equals(remote)

    def test_command_and_task_mirror_too(self, remote, settings, capsys):
        remote.add("Ticket")
        call_command("orq_doctor")
        call_command("orq_sync", "--full")
        assert mirror_equals(remote)

        remote.add("Another")
        app.conf.task_always_eager = True
        try:
            tasks.sync_conversations.delay()
        finally:
            app.conf.task_always_eager = False
        assert mirror_equals(remote)

    def test_every_verb_writes_through(self, remote):
        row = mirror.create_conversation(display_name="New")
        mirror.rename_conversation(row, display_name="Renamed")
        mirror.fetch_conversation(remote_id=remote.add("Fetched")["_id"])
        remote.rename(row.remote_id, "Theirs")
        mirror.refresh_conversation(row)
        assert row.display_name == "Theirs"

        mirror.delete_conversation(row)

        assert row.state == "deleted"
        assert mirror_equals(remote)

    def test_signals_follow_the_commit_of_our_database(self, remote):
        row, rows = mirrored(remote), []

        def receive(conversation, **_):
            rows.append((conversation.display_name, connections["orq"].in_atomic_block))

        conversation_updated.connect(receive)
        try:
            mirror.rename_conversation(row, display_name="Renamed")
        finally:
            conversation_updated.disconnect(receive)

        assert rows == [("Renamed", False)]

    def test_admin_lists_creates_renames_and_deletes(self, remote, admin_client):
        assert save_new(admin_client, "New").status_code == 302
        row = Conversation.objects.get()
        assert row.display_name in text_of(admin_client.get(LIST, {"q": "new"}))
        assert admin_client.get(ADD).status_code == 200

        assert save_name(admin_client, row, "Renamed").status_code == 302
        assert names_in_orq(remote) == ["Renamed"]

        assert admin_client.get(page(row, "delete")).status_code == 200
        assert confirm_deletion(admin_client, row).status_code == 302
        assert names_in_orq(remote) == []
        row.refresh_from_db()
        assert row.state == "deleted"
        history = LogEntry.objects.order_by("pk").values_list("object_repr", flat=True)
        assert list(history) == ["New", "Renamed", "Renamed"]

    @pytest.mark.parametrize(
        ("action", "names"),
        [
            ("rename_selected", ["Three anew", "Two anew", "One anew"]),
            ("delete_selected", []),
            ("refresh_selected", ["Three", "Two", "One"]),
        ],
    )
    def test_several_are_done_by_a_worker_and_noted_in_the_history(
        self, remote, rows, admin_client, queue, action, names
    ):
        response = choose(admin_client, action, rows)
        if action != "refresh_selected":
            response = confirm(admin_client, response, **{f"name-{row.pk}": f"{row} anew" for row in rows})
        operation = Operation.objects.get()
        assert response.url == page_of(operation)
        assert admin_client.get(response.url).status_code == 200

        work_off(operation)

        assert names_in_orq(remote) == names
        assert LogEntry.objects.count() == 3
        assert "3 done" in text_of(admin_client.get(page_of(operation)))
        assert "3 done" in text_of(admin_client.get(reverse("admin:django_orq_operation_changelist")))
        assert json.loads(admin_client.get(page_of(operation, "progress")).content)["finished"] is True

    def test_deleted_ones_are_created_again_and_what_failed_is_tried_again(self, remote, rows, admin_client, queue):
        for row in rows[:2]:
            mirror.delete_conversation(row)
        remote.fail("create", status=500)
        confirm(admin_client, choose(admin_client, "create_again", rows[:2]))
        operation = work_off(Operation.objects.get())
        assert sorted(operation.items.values_list("state", flat=True)) == ["done", "failed"]

        admin_client.post(page_of(operation, "retry"))
        operation.refresh_from_db()
        work_off(operation)

        assert sorted(names_in_orq(remote)) == ["One", "Three", "Two"]

    def test_runs_are_started_watched_paused_and_cancelled_in_the_admin(self, remote, admin_client, queue):
        remote.add("Ticket")
        start = reverse("admin:django_orq_syncrun_start")
        admin_client.post(start, {"mode": "full", "workspace": "default"})
        run = SyncRun.objects.get()
        for name in ("pause", "go_on", "cancel"):
            response = admin_client.post(page_of(run, name))
            assert said(response, constants.ERROR) == []
            assert admin_client.get(page_of(run)).status_code == 200
        run.refresh_from_db()

        assert run.state == "cancelled"
        assert admin_client.get(page_of(run, "progress")).status_code == 200
        assert admin_client.get(reverse("admin:django_orq_syncrun_changelist")).status_code == 200
        assert admin_client.get(reverse("admin:django_orq_rejectedpayload_changelist")).status_code == 200
        assert admin_client.get(reverse("admin:index")).status_code == 200

    def test_rest_lists_shows_and_writes(self, remote, reader, queue):
        created = reader.post(REST, {"display_name": "New"})
        row = Conversation.objects.get()
        assert created.status_code == 201
        assert [item["remote_id"] for item in reader.get(REST).json()["results"]] == [row.remote_id]
        assert reader.get(one_of_ours(row)).json()["display_name"] == "New"
        assert reader.patch(one_of_ours(row), {"display_name": "Renamed"}).status_code == 200
        assert reader.post(f"{one_of_ours(row)}refresh/").status_code == 200
        assert reader.post(f"{REST}fetch/", {"remote_id": row.remote_id}).status_code == 200
        assert reader.delete(one_of_ours(row)).status_code == 204
        assert remote.conversations == []

        run = reader.post("/orq/sync-runs/", {"mode": "full"})
        assert run.status_code == 202
        assert reader.get("/orq/sync-runs/").json()["results"][0]["id"] == run.json()["id"]
        assert reader.post(f"/orq/sync-runs/{run.json()['id']}/cancel/").json()["state"] == "cancelled"

    def test_other_models_refer_to_conversations(self, remote, rows, admin_client):
        query = {"app_label": "references", "model_name": "reference", "field_name": "conversation", "term": "Tw"}
        (found,) = admin_client.get(AUTOCOMPLETE, query).json()["results"]
        assert found["text"] == "Two"

        admin_client.post(reverse("admin:references_reference_add"), {"conversation": found["id"], "_save": "Save"})
        reference = Reference.objects.get(conversation__display_name="Two")
        assert "Two" in text_of(admin_client.get(reverse("admin:references_reference_change", args=[reference.pk])))

        mirror.delete_conversation(rows[1])
        reference.refresh_from_db()
        assert reference.conversation == rows[1]
        assert reference.conversation.state == "deleted"

    def test_users_of_the_other_database_are_remembered_by_name(self, remote, rows, admin_client, queue):
        refreshed = choose(admin_client, "refresh_selected", rows)
        User.objects.all().delete()

        operation = work_off(Operation.objects.get())

        assert refreshed.url == page_of(operation)
        assert (operation.ordered_by, LogEntry.objects.count()) == ("admin", 0)

    def test_old_runs_and_operations_are_removed(self, remote, rows, monkeypatch):
        monkeypatch.setattr(runs, "KEPT", 2)
        monkeypatch.setattr(runs, "KEPT_UNCHANGED", 2)
        monkeypatch.setattr(orders, "KEPT", 2)
        for _time in range(5):
            full_run()
            work_off(orders.place("refresh", [Order(conversation=row) for row in rows], by=NOBODY)[0])

        assert SyncRun.objects.count() <= 3
        assert Operation.objects.count() <= 3


@pytest.mark.django_db(transaction=True, databases=["default", "orq", "replica"])
class TestReplicated:
    """Written to ``orq``, read from ``replica``, which has what `replicate` last copied."""

    @pytest.fixture(autouse=True)
    def replicated(self, settings, transactional_db) -> Iterator[Heard]:
        settings.DATABASE_ROUTERS = ["tests.routers.Replicated"]
        with heard() as said_to:
            yield said_to
        assert said_to.written_in("replica") == []

    @pytest.fixture
    def rows(self, remote, replicated) -> list[Conversation]:
        """Three conversations, the newest first, as the replica has them."""
        rows = [mirrored(remote, name) for name in ("One", "Two", "Three")][::-1]
        replicate()
        rows = [Conversation.objects.get(pk=row.pk) for row in rows]
        replicated["replica"].clear()
        return rows

    def test_lists_of_conversations_show_what_the_replica_has(self, rows, admin_client, reader):
        mirror.create_conversation(display_name="Not there yet")

        for shown in (text_of(admin_client.get(LIST)), reader.get(REST).content.decode()):
            assert "Three" in shown
            assert "Not there yet" not in shown

    def test_syncing_and_the_verbs_read_nothing_from_the_replica(self, remote, replicated):
        ids = [remote.add(f"Ticket {number}")["_id"] for number in range(5)]
        full_run()
        incremental_run()
        remote.remove(ids[0])
        full_run()
        row = mirror.create_conversation(display_name="New")
        mirror.rename_conversation(row, display_name="Renamed")
        mirror.refresh_conversation(row)
        mirror.delete_conversation(row)
        mirror.fetch_conversation(remote_id=ids[1])

        assert replicated["replica"] == []

    def test_operations_read_nothing_from_the_replica(self, rows, replicated, queue):
        rows = list(Conversation.objects.using("orq").order_by("-remote_id"))
        for verb in ("rename", "refresh", "delete", "create"):
            orders_of = [Order(conversation=row, wanted=f"{row} anew") for row in rows]
            operation, _is_new = orders.place(verb, orders_of, by=NOBODY)
            assert set(work_off(operation).items.using("orq").values_list("state", flat=True)) == {"done"}

        assert replicated["replica"] == []

    def test_row_that_was_read_from_the_replica_can_be_written(self, remote, rows):
        row = rows[0]

        mirror.rename_conversation(row, display_name="Renamed")

        assert (row.display_name, names_in_orq(remote)[0]) == ("Renamed", "Renamed")

    def test_rename_of_a_row_that_lags_behind_is_a_conflict(self, remote, rows):
        stale = rows[0]
        mirror.rename_conversation(mirror.fetch_conversation(remote_id=stale.remote_id), display_name="Theirs")

        with pytest.raises(ConversationChanged):
            mirror.rename_conversation(stale, display_name="Mine")

        assert names_in_orq(remote)[0] == "Theirs"

    def test_page_of_what_was_just_created_is_there(self, remote, admin_client, reader):
        response = save_new(admin_client, "New", _continue="1")
        shown = text_of(admin_client.get(response.url))
        assert "New" in shown

        created = reader.post(REST, {"display_name": "Another"}).json()
        assert reader.get(f"{REST}{created['remote_id']}/").json() == created

    def test_page_shows_the_rename_that_it_has_just_done(self, remote, rows, admin_client):
        save_name(admin_client, rows[0], "Renamed", _continue="1")

        form = forms_of(admin_client, rows[0])

        assert form["display_name"] == "Renamed"
        admin_client.post(page(rows[0]), form | {"display_name": "Once more", "_save": "Save"})
        assert names_in_orq(remote)[0] == "Once more"

    def test_what_was_just_deleted_is_deleted_on_its_page_and_at_the_rest_door(self, rows, admin_client, reader):
        confirm_deletion(admin_client, rows[0])

        assert "_save" not in text_of(admin_client.get(page(rows[0])))
        (warning,) = said(confirm_deletion(admin_client, rows[0]), constants.WARNING)
        assert "is deleted already" in warning
        assert reader.get(one_of_ours(rows[0])).json()["state"] == "deleted"

    def test_operation_that_was_just_ordered_is_there_and_goes_on(self, remote, rows, admin_client, queue):
        response = confirm(
            admin_client, choose(admin_client, "rename_selected", rows), **{f"name-{row.pk}": "Same" for row in rows}
        )
        assert "0 of 3" in text_of(admin_client.get(response.url))

        work_off(Operation.objects.using("orq").get())

        assert "3 done" in text_of(admin_client.get(response.url))
        assert "3 done" in text_of(admin_client.get(reverse("admin:django_orq_operation_changelist")))
        assert names_in_orq(remote) == ["Same"] * 3

    def test_action_acts_on_what_is_written_not_on_what_the_list_showed(self, remote, rows, admin_client):
        mirror.delete_conversation(rows[0])  # the replica has it alive

        (warning,) = said(choose(admin_client, "delete_selected", rows[:1]), constants.WARNING)

        assert "is deleted already" in warning

    def test_run_that_was_just_started_is_there(self, remote, admin_client, reader, queue):
        response = admin_client.post(
            reverse("admin:django_orq_syncrun_start"), {"mode": "full", "workspace": "default"}
        )
        run = SyncRun.objects.using("orq").get()

        assert response.url == page_of(run)
        assert admin_client.get(response.url).status_code == 200
        assert f"#{run.pk}" in text_of(admin_client.get(reverse("admin:django_orq_syncrun_changelist")))
        assert reader.get(f"/orq/sync-runs/{run.pk}/").status_code == 200

    def test_held_run_goes_on_once_though_the_replica_does_not_know_yet(
        self, settings, remote, admin_client, replicated
    ):
        configure(settings, MASS_DELETE_MIN=2, MASS_DELETE_SHARE=0)
        ids = [remote.add(f"Ticket {number}")["_id"] for number in range(5)]
        full_run()
        for id_ in ids[:3]:
            remote.remove(id_)
        held = full_run()
        assert held.hold
        replicate()
        replicated["replica"].clear()
        confirmed = runs.go_on(held)
        work_on(confirmed)

        assert (confirmed.state, confirmed.tombstoned) == ("succeeded", 3)
        assert not runs.can_go_on(held)
        with pytest.raises(ValueError, match="continued"):
            runs.go_on(held)
        shown = text_of(admin_client.get(page_of(held)))
        assert page_of(confirmed) in shown
        assert page_of(held, "go_on") not in shown


def replicate() -> None:
    """Let the replica catch up with ours."""
    for model in reversed(list(apps.get_app_config("django_orq").get_models())):
        QuerySet(model, using="replica").delete()
    for model in apps.get_app_config("django_orq").get_models():
        QuerySet(model, using="replica").bulk_create(QuerySet(model, using="orq").order_by("pk"))
