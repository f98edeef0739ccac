"""Our tables are in ``orq``; users, sessions, content types and the admin log are in ``default``."""

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import constants
from django.core.management import call_command
from django.db import connections
from django.urls import reverse

from django_orq import mirror as verbs, tasks
from django_orq.mirror.operations import Requester
from django_orq.models import Conversation, ConversationChange, Operation, SyncRun
from django_orq.signals import conversation_updated
from django_orq.sync import runs

from ..admin.test_admin import (
    choose,
    confirm,
    mirrored,
    said,
    text_of,
)
from ..celery import app
from ..references.models import Label, Reference
from ..values import tombstone
from ..walking import fill, full_run, mirror_equals
from .doing import REST, names_in_orq, one, page_of, work_off

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "orq", "replica"])

AUTOCOMPLETE = reverse("admin:autocomplete")
NOBODY = Requester()


def test_each_table_is_in_one_of_the_databases_and_checks_pass(remote):
    ours, others = (set(connections[alias].introspection.table_names()) for alias in ("orq", "default"))

    assert {"django_orq_conversation", "django_orq_operationitem", "references_reference"} < ours
    assert {"auth_user", "django_admin_log", "django_session"} < others
    assert ours & others == {"django_migrations"}
    for database in ("default", "orq"):
        call_command("check", databases=[database], fail_level="WARNING")
        call_command("migrate", database=database, check_unapplied=True)
    call_command("makemigrations", check_changes=True, dry_run=True)


def test_commands_and_tasks_mirror_everything_and_find_out_about_deletions(remote, capsys):
    ids = fill(remote, 5)
    call_command("orq_doctor")
    call_command("orq_sync", "--full")
    remote.remove(ids[0])
    remote.rename(ids[1], "Renamed")
    call_command("orq_sync", "--full")
    assert "1 updated, 3 unchanged, 1 deleted" in capsys.readouterr().out
    assert mirror_equals(remote)

    remote.add("Another")
    app.conf.task_always_eager = True
    try:
        tasks.sync_conversations.delay()
    finally:
        app.conf.task_always_eager = False
    assert mirror_equals(remote)


def test_signals_follow_the_commit_of_our_database(remote):
    row, rows = mirrored(remote), []

    def receive(conversation, **_):
        rows.append((conversation.display_name, connections["orq"].in_atomic_block))

    conversation_updated.connect(receive)
    try:
        verbs.rename_conversation(row, display_name="Renamed")
    finally:
        conversation_updated.disconnect(receive)

    assert rows == [("Renamed", False)]


@pytest.mark.parametrize(
    ("action", "names"),
    [
        ("rename_selected", ["Three anew", "Two anew", "One anew"]),
        ("delete_selected", []),
        ("refresh_selected", ["Three", "Two", "One"]),
    ],
)
def test_several_are_done_by_a_worker_and_recorded(remote, rows, admin_client, queue, action, names):
    response = choose(admin_client, action, rows)
    if action != "refresh_selected":
        response = confirm(admin_client, response, **{f"{row.pk}-display_name": f"{row} anew" for row in rows})
    operation = Operation.objects.get()
    assert response.url == page_of(operation)
    assert admin_client.get(response.url).status_code == 200

    work_off(operation)

    assert names_in_orq(remote) == names
    recorded = set(ConversationChange.objects.values_list("conversation", "actor_name"))
    assert recorded == (set() if action == "refresh_selected" else {(row.pk, "admin") for row in rows})
    assert "3 done" in text_of(admin_client.get(page_of(operation)))
    assert "3 done" in text_of(admin_client.get(reverse("admin:django_orq_operation_changelist")))


def test_deleted_ones_are_created_again_and_what_failed_is_tried_again(remote, rows, admin_client, queue):
    for row in rows[:2]:
        verbs.delete_conversation(row)
    remote.fail("create", status=500)
    confirm(admin_client, choose(admin_client, "create_again", rows[:2]))
    operation = work_off(Operation.objects.get())
    assert sorted(operation.items.values_list("state", flat=True)) == ["done", "failed"]

    admin_client.post(page_of(operation, "retry"))
    operation.refresh_from_db()
    work_off(operation)

    assert sorted(names_in_orq(remote)) == ["One", "Three", "Two"]


def test_runs_are_started_watched_paused_and_cancelled_in_the_admin(remote, admin_client, queue):
    remote.add("Ticket")
    start = reverse("admin:django_orq_syncrun_start")
    admin_client.post(start, {"mode": "full", "workspace": "default"})
    run = SyncRun.objects.get()
    for name in ("pause", "resume", "cancel"):
        response = admin_client.post(page_of(run, name))
        assert said(response, constants.ERROR) == []
        assert admin_client.get(page_of(run)).status_code == 200
    run.refresh_from_db()

    assert run.state == "cancelled"
    assert admin_client.get(page_of(run)).status_code == 200
    assert admin_client.get(reverse("admin:django_orq_syncrun_changelist")).status_code == 200
    assert admin_client.get(reverse("admin:django_orq_rejectedpayload_changelist")).status_code == 200
    assert admin_client.get(reverse("admin:index")).status_code == 200


def test_rest_lists_shows_and_writes_by_every_verb(remote, reader, queue):
    created = reader.post(REST, {"display_name": "New"})
    row = Conversation.objects.get()
    assert created.status_code == 201
    assert [item["remote_id"] for item in reader.get(REST).json()["results"]] == [row.remote_id]
    assert reader.get(one(row)).json()["display_name"] == "New"
    assert reader.patch(one(row), {"display_name": "Renamed"}).status_code == 200
    remote.rename(row.remote_id, "Theirs")
    assert reader.post(f"{one(row)}refresh/").json()["display_name"] == "Theirs"
    assert mirror_equals(remote)
    assert reader.post(f"{REST}fetch/", {"remote_id": row.remote_id}).status_code == 200
    assert reader.delete(one(row)).status_code == 204
    assert remote.conversations == []

    run = reader.post("/orq/sync-runs/", {"mode": "full"})
    assert run.status_code == 202
    assert reader.get("/orq/sync-runs/").json()["results"][0]["id"] == run.json()["id"]
    assert reader.post(f"/orq/sync-runs/{run.json()['id']}/cancel/").json()["state"] == "cancelled"


def test_other_models_refer_to_conversations(remote, rows, admin_client):
    query = {"app_label": "references", "model_name": "reference", "field_name": "conversation", "term": "Tw"}
    (found,) = admin_client.get(AUTOCOMPLETE, query).json()["results"]
    assert found["text"].startswith("\u2068Two\u2069 (")

    admin_client.post(reverse("admin:references_reference_add"), {"conversation": found["id"], "_save": "Save"})
    reference = Reference.objects.get(conversation__display_name="Two")
    assert "Two" in text_of(admin_client.get(reverse("admin:references_reference_change", args=[reference.pk])))

    verbs.delete_conversation(rows[1])
    reference.refresh_from_db()
    assert reference.conversation == rows[1]
    assert reference.conversation.state == "deleted"


def test_users_of_the_other_database_are_remembered_by_name(remote, rows, admin_client, queue):
    refreshed = choose(admin_client, "refresh_selected", rows)
    User.objects.all().delete()

    operation = work_off(Operation.objects.get())

    assert refreshed.url == page_of(operation)
    assert operation.requested_by == "admin"


def test_old_runs_are_removed(remote, rows, monkeypatch):
    monkeypatch.setattr(runs, "KEPT", 2)
    monkeypatch.setattr(runs, "KEPT_UNCHANGED", 2)
    for _time in range(5):
        full_run()

    assert SyncRun.objects.count() <= 3


def test_tombstone_is_kept_by_what_refers_to_it_from_the_same_database_alone(remote):
    referred, labelled, _free = tombstone(1), tombstone(2), tombstone(3)
    Reference.objects.create(conversation=referred)
    Label.objects.create(content_type=ContentType.objects.get_for_model(Conversation), object_id=str(labelled.pk))

    call_command("orq_prune", "--tombstones=1", "--apply")

    assert list(Conversation.objects.all()) == [referred]
