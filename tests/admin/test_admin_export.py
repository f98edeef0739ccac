"""Exports of the admin's lists as CSV, opened as a spreadsheet program would."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from django_orq import mirror
from django_orq.models import Conversation, ConversationChange
from django_orq.store.history import all_changes
from django_orq.sync import export

from ..values import set_columns
from ..walking import full_run
from .test_admin import user_with
from .test_admin_list import LIST, mirrored

pytestmark = pytest.mark.django_db
EXPORT = reverse("admin:django_orq_conversation_csv")
EXPORT_CHANGES = reverse("admin:django_orq_conversationchange_csv")


def opened(response: Any) -> list[dict[str, str]]:
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment; ")
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_filtered_list_is_exported_newest_first(admin_client, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(export, "CHUNK", 2)
    rows = mirrored("Refund 1", "Invoice", "Refund 2", "Refund 3", "Refund “4”, paid\nin cash")

    found = opened(admin_client.get(EXPORT, {"q": "refund"}))

    assert [row["display_name"] for row in found] == ["Refund “4”, paid\nin cash", "Refund 3", "Refund 2", "Refund 1"]
    assert found[0] == {
        "missing_since": "",
        "deleted_at": "",
        "metadata": json.dumps(rows[4].metadata),
        "workspace": "default",
        "remote_id": rows[4].remote_id,
        "display_name": rows[4].display_name,
        "state": "live",
        "remote_created_at": rows[4].remote_created_at.isoformat(),
        "remote_updated_at": rows[4].remote_updated_at.isoformat(),
        "created_by_id": rows[4].created_by_id or "",
        "updated_by_id": rows[4].updated_by_id or "",
    }
    (record,) = (record for record in caplog.records if getattr(record, "event", "") == "export.done")
    assert (record.user, record.kind, record.query, record.count) == ("admin", "conversation", "q=refund", 4)


def test_selected_rows_are_exported(admin_client):
    one, _two, three = mirrored("1", "2", "3")
    chosen = {"action": "export_selected", "_selected_action": [one.pk, three.pk], "index": "0"}

    found = opened(admin_client.post(LIST, chosen))

    assert [row["remote_id"] for row in found] == [three.remote_id, one.remote_id]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r1", "\n1"])
def test_formula_is_exported_as_text(admin_client, name):
    mirrored(name)

    (row,) = opened(admin_client.get(EXPORT))

    assert row["display_name"] == f"'{name}"


@pytest.mark.parametrize(
    "name", ["\n=1", "Refund;=1+1", "Refund\n@SUM(A1)", "Refund;;=1+1", 'Refund;"=1+1', 'Refund;""=1+1"']
)
def test_formula_after_what_may_separate_cells_is_exported_as_text(admin_client, name):
    mirrored(name)

    (row,) = opened(admin_client.get(EXPORT))

    assert row["display_name"].lstrip("'") == name.replace("=", "'=").replace("@", "'@")


def test_formula_after_the_line_break_of_windows_is_exported_as_text():
    assert "\n'=1+1" in export._cell("Refund\r\n=1+1")


def test_formula_in_metadata_is_exported_as_text(admin_client):
    (refund,) = mirrored("Refund")
    set_columns(refund, metadata={"key": ";=HYPERLINK(0);"})

    (row,) = opened(admin_client.get(EXPORT))

    assert json.loads(row["metadata"]) == {"key": ";'=HYPERLINK(0);"}


def test_changes_are_exported_with_the_names_of_people(admin_client, admin_user, remote, settings, monkeypatch):
    monkeypatch.setattr(export, "CHUNK", 2)
    there = [remote.add(name)["_id"] for name in ("Refund", "Invoice", "Call")]
    full_run()
    rows = {row.remote_id: row for row in Conversation.objects.all()}
    mirror.rename_conversation(rows[there[0]], display_name="Refund paid", by=admin_user)
    all_changes().update(recorded_at=timezone.now() - timedelta(days=1))
    for number in range(3):
        mirror.rename_conversation(rows[there[1]], display_name=f"Invoice {number}", by="nightly import")
    person = remote.rename(there[2], "Call back")["updatedById"]
    settings.ORQ_WORKSPACES = {"default": settings.ORQ_WORKSPACES["default"] | {"PEOPLE": {person: "Ada"}}}
    full_run()
    today, yesterday = timezone.localdate(), timezone.localdate() - timedelta(days=1)

    found = opened(admin_client.get(EXPORT_CHANGES))
    assert [(row["new_name"], row["origin"], row["actor_name"]) for row in found] == [
        ("Call back", "orq", "Ada"),
        ("Invoice 2", "here", "nightly import"),
        ("Invoice 1", "here", "nightly import"),
        ("Invoice 0", "here", "nightly import"),
        ("Refund paid", "here", "admin"),
    ]
    assert [int(row["id"]) for row in found] == [
        *ConversationChange.objects.order_by("-pk").values_list("pk", flat=True)
    ]
    (row,) = opened(admin_client.get(EXPORT_CHANGES, {"since": yesterday, "until": yesterday}))
    assert (row["old_name"], row["remote_id"]) == ("Refund", there[0])
    assert len(opened(admin_client.get(EXPORT_CHANGES, {"since": today, "origin__exact": "here"}))) == 3


def test_export_needs_its_permission(admin_client):
    mirrored("One")
    viewer = user_with("view_conversation", "view_conversationchange")

    assert "Export" not in viewer.get(LIST).content.decode()
    assert "Export" in admin_client.get(LIST).content.decode()
    assert viewer.get(EXPORT).status_code == viewer.get(EXPORT_CHANGES).status_code == 403
    chosen = {"action": "export_selected", "_selected_action": ["1"], "index": "0"}
    assert "display_name" not in viewer.post(LIST, chosen).content.decode()


def test_invalid_filter_leads_to_the_list_as_it_does_there(admin_client):
    response = admin_client.get(EXPORT, {"nonsense": "1"})

    assert response.url == f"{LIST}?e=1"


def test_interrupted_export_is_logged_with_the_rows_so_far(caplog):
    mirrored("1", "2", "3")
    caplog.set_level("INFO")
    lines = export.export(Conversation.objects.all(), user="agent", query="")
    next(lines)
    next(lines)
    lines.close()

    assert [record.count for record in caplog.records if getattr(record, "event", "") == "export.done"] == [1]
