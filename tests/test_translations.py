"""Texts are composed when they are shown, in the language of who reads them; what is stored or logged is English."""

import html
import json
import logging
import os
import pickle
import subprocess
import sys

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation

from django_orq.exceptions import APIError, InvalidName, OrqError, TransportError, explain
from django_orq.mirror import orders, verbs
from django_orq.mirror.orders import Order, Orderer
from django_orq.models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun
from django_orq.payloads import REMOTE_ID
from django_orq.sync import runs
from django_orq.sync.report import remarks

from .marked import PACKAGE
from .resting import error_of
from .test_catalogues import catalogue
from .test_exceptions import ERRORS
from .values import NOON
from .walking import configure, full_run

pytestmark = pytest.mark.django_db(transaction=True)
ADMIN = "admin:django_orq_"
JSON = "application/json"
WITHOUT_DJANGO = """
from django_orq.service import ConversationService
try:
    ConversationService(api_key="key").create(display_name="")
except Exception as error:
    print(error, error.message)
"""
BEFORE_SETUP = """
from django.conf import settings
settings.configure(LANGUAGE_CODE="de")
from django_orq.payloads import clean_display_name
try:
    clean_display_name("")
except Exception as error:
    print(error.message)
"""


@pytest.fixture
def localized(settings):
    """The site answers in the language that the reader's browser asks for."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    yield
    translation.deactivate()  # the language of a request stays with its thread, which here is that of the tests


@pytest.fixture
def reader(localized) -> Client:
    """A person who may do everything, and reads German."""
    client = Client(headers={"Accept-Language": "de"})
    client.force_login(User.objects.create_superuser("admin"))
    return client


def mirrored(remote, name: str = "Refund") -> Conversation:
    return verbs.fetch_conversation(remote_id=remote.add(name)["_id"])


def text_of(response) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def english_in(page: str) -> list[str]:
    """Texts of ours on a page that are left in English; single words may be parts of markup."""
    texts = [entry.msgid for entry in catalogue("de") if entry.msgid.count(" ") > 1 and "%" not in entry.msgid]
    return [text for text in texts if text in page]


# The admin


def test_list_is_in_the_readers_language(reader, remote):
    mirrored(remote)
    full_run()

    page = text_of(reader.get(reverse(f"{ADMIN}conversation_changelist")))

    assert "Jetzt abgleichen" in page
    assert "vollständig" in page
    assert "Ausgewählte Konversationen umbenennen" in page
    assert "Teile des Namens oder der Anfang einer Orq-ID" in page
    assert english_in(page) == []


def test_page_of_a_run_is_in_the_readers_language(reader, remote):
    remote.add("Refund", displayName=None)
    run = full_run()

    page = text_of(reader.get(reverse(f"{ADMIN}syncrun_change", args=[run.pk])))

    assert run.state == SyncRun.State.PARTIAL
    assert (
        "1 Eintrag der Liste von Orq war nicht zu lesen: Die Verwaltung führt ihn unter den unlesbaren Einträgen auf."
        in page
    )
    assert "“displayName” must be a string" in page
    assert "1 Konversation, 1 Seite" in page


def test_error_of_a_verb_is_in_the_readers_language(reader, remote):
    row = mirrored(remote)
    remote.fail("delete", status=503)

    page = text_of(reader.post(reverse(f"{ADMIN}conversation_delete", args=[row.pk]), {"post": "yes"}))

    assert "Es wurde nichts gelöscht." in page
    assert "Orq ist gestört: Es hat beim Löschen mit 503 geantwortet" in page
    assert english_in(page) == []


def test_refused_name_is_explained_in_the_readers_language(reader, remote):
    page = text_of(reader.post(reverse(f"{ADMIN}conversation_add"), {"display_name": "x" * 101}))

    assert "Ein Name hat höchstens 100 Zeichen; dieser hat 101." in page
    assert english_in(page) == []


def test_reason_of_a_doubt_is_in_the_readers_language(reader, remote):
    remote.fail("create", drop="after")

    page = text_of(reader.post(reverse(f"{ADMIN}conversation_add"), {"display_name": "Refund"}))

    assert "Es ist nicht bekannt, ob Orq es getan hat: die Verbindung brach ab, bevor eine Antwort kam." in page
    assert english_in(page) == []


def test_run_that_can_not_go_on_says_so_in_the_readers_language(reader, remote):
    run = full_run()

    response = reader.post(reverse(f"{ADMIN}syncrun_go_on", args=[run.pk]), follow=True)

    assert f"Abgleich {run.pk} ist im Zustand „erfolgreich“: Es gibt nichts fortzusetzen" in text_of(response)


def an_operation() -> Operation:
    rows = list(Conversation.objects.all())
    operation, _ = orders.place("rename", [Order(conversation=row, wanted="New") for row in rows], by=Orderer())
    failed = {"state": "failed", "error_code": "server_error"}
    operation.items.update(**failed, error_params={"operation": "update", "status": 503, "said": "", "hint": ""})
    Operation.objects.update(finished_at=NOON)
    return operation


def pages(remote) -> dict[str, str]:
    """The address of each page that people see."""
    row = mirrored(remote)
    mirrored(remote, "Parcel")
    remote.add("Odd", createdAt="yesterday")
    full_run()
    run, payload = SyncRun.objects.get(), RejectedPayload.objects.get()
    waiting = SyncRun.objects.create(workspace="default", mode="incremental", state="waiting", wait="backoff")
    held = SyncRun.objects.create(
        workspace="default", mode="full", state="partial", hold="mass_delete", held=3, finished_at=NOON
    )
    views = {
        "conversation": {"changelist": [], "add": [], "change": [row.pk], "delete": [row.pk], "history": [row.pk]},
        "syncrun": {"changelist": [], "change": [run.pk], "go_on": [held.pk], "cancel": [waiting.pk]},
        "operation": {"changelist": [], "change": [an_operation().pk]},
        "rejectedpayload": {"changelist": [], "change": [payload.pk]},
    }
    return {
        f"{model} {view}": reverse(f"{ADMIN}{model}_{view}", args=args)
        for model, each in views.items()
        for view, args in each.items()
    }


def test_no_page_has_english_left_in_it(reader, remote):
    found = {name: english_in(text_of(reader.get(address))) for name, address in pages(remote).items()}

    assert {name: texts for name, texts in found.items() if texts} == {}


def test_every_page_is_in_english_for_who_reads_english(reader, remote):
    """Or the test before this one would find nothing wherever it looked."""
    reader.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    addresses = pages(remote)
    found = {name: english_in(text_of(reader.get(address))) for name, address in addresses.items()}

    assert {name for name, texts in found.items() if texts} >= {
        "conversation changelist",
        "conversation add",
        "conversation delete",
        "syncrun changelist",
        "syncrun change",
        "syncrun go_on",
        "rejectedpayload changelist",
    }


@pytest.mark.parametrize("action", ["rename_selected", "delete_selected"])
def test_pages_of_actions_have_no_english_left_in_them(reader, remote, action):
    selected = [mirrored(remote, name).pk for name in ("One", "Two")]
    posted = {"action": action, "_selected_action": selected}

    page = text_of(reader.post(reverse(f"{ADMIN}conversation_changelist"), posted))

    assert "Konversationen" in page
    assert english_in(page) == []


def test_large_numbers_are_written_as_the_reader_does(reader, remote):
    run = full_run()
    SyncRun.objects.update(seen=12_345, rejected=1_000)

    page = text_of(reader.get(reverse(f"{ADMIN}syncrun_change", args=[run.pk])))

    assert "12.345 Konversationen" in page
    assert "1.000 Einträge der Liste von Orq waren nicht zu lesen" in page
    with translation.override("en"):
        assert remarks(SyncRun.objects.get())[0].startswith("1,000 entries of Orq’s list could not be read")


# REST


def test_rest_error_is_in_the_readers_language(reader, remote):
    row = mirrored(remote)
    remote.fail("update", status=403, body='{"message": "Not yours"}')

    error = error_of(reader.patch(f"/orq/conversations/{row.remote_id}/", {"display_name": "Paid"}, JSON))

    assert error["code"] == "permission_refused"
    assert error["message"] == (
        "Orq erlaubt diesem API-Schlüssel das Ändern von Konversationen nicht (403: Not yours). "
        "Prüfen Sie die Rechte des Schlüssels in Orq."
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/conversations/?workspace=other", "Diesen Arbeitsbereich gibt es nicht."),
        ("/conversations/?page_size=1000", "Verlangen Sie eine ganze Zahl von 1 bis 100."),
        ("/sync-runs/1000000000/", "In diesem Arbeitsbereich gibt es diesen Abgleich nicht."),
    ],
)
def test_refusals_of_the_rest_door_are_in_the_readers_language(reader, remote, address, message):
    assert message in error_of(reader.get(f"/orq{address}"))["message"]


def test_hint_of_the_rest_door_is_in_the_readers_language(reader, remote):
    remote.fail("create", drop="after")

    answer = reader.post("/orq/conversations/", {"display_name": "New"}, JSON).json()

    assert answer["hint"].startswith("Die Konversation kann trotzdem in Orq entstanden sein")
    assert "die Verbindung brach ab, bevor eine Antwort kam" in answer["message"]


# Commands


def test_commands_speak_the_projects_language(remote, settings, capsys):
    settings.LANGUAGE_CODE = "de"
    remote.add("Refund")
    with translation.override("de"):
        call_command("orq_sync", "--full")
        call_command("orq_doctor")
        with pytest.raises(CommandError, match=r"Es gibt keinen Abgleich 1000000000\."):
            call_command("orq_sync", "--go-on", "1000000000")

    said = capsys.readouterr().out
    assert "erfolgreich: 1 Konversation in 1 Seite mit 1 Anfrage; 1 neu" in said
    assert "der API-Schlüssel wird akzeptiert" in said
    assert "Alles ist in Ordnung." in said
    assert english_in(said) == []


def test_failed_command_says_why_in_the_projects_language(remote):
    remote.fail("list", times=None, status=401)

    with translation.override("de"), pytest.raises(CommandError) as failure:
        call_command("orq_sync")

    assert "ist fehlgeschlagen: Orq akzeptiert den API-Schlüssel nicht (401 beim Auflisten)." in str(failure.value)


# What is stored, logged and raised


def stored_by(remote) -> str:
    """What runs, refusals, operations and the history keep of everything that goes wrong here."""
    row = mirrored(remote)
    remote.add("Odd", displayName=None)
    full_run()
    remote.fail("list", status=503)
    full_run()
    remote.fail("create", drop="after")
    admin, _ = User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)
    person = Client(headers={"Accept-Language": translation.get_language()})
    person.force_login(admin)
    person.post(reverse(f"{ADMIN}conversation_add"), {"display_name": "New"})
    person.post(reverse(f"{ADMIN}conversation_change", args=[row.pk]), rename_of(row, "Paid"))
    run = runs.unfinished("default", "full")
    person.post(reverse(f"{ADMIN}syncrun_pause", args=[run.pk]))
    person.post(reverse(f"{ADMIN}syncrun_go_on", args=[run.pk]))
    person.post(reverse(f"{ADMIN}syncrun_cancel", args=[run.pk]), {"post": "yes"})
    kept = [
        *SyncRun.objects.order_by("pk").values_list("mode", "state", "error_code", "error_params", "hold", "wait"),
        *RejectedPayload.objects.values_list("reason", flat=True),
        *OperationItem.objects.order_by("pk").values_list("state", "error_code", "error_params", "note"),
        *LogEntry.objects.order_by("pk").values_list("change_message", flat=True),
    ]
    return json.dumps(kept, default=str)


def rename_of(row: Conversation, name: str) -> dict[str, str]:
    return {"display_name": name, "expected_updated_at": row.remote_updated_at.isoformat()}


def test_what_is_stored_does_not_depend_on_who_did_it(localized, remote, settings):
    with translation.override("de"):
        in_german = stored_by(remote)
    everything = (LogEntry, RejectedPayload, OperationItem, Operation, SyncRun)
    for model in everything:
        model.objects.all().delete()
    for each in remote.conversations:
        remote.remove(each["_id"])
    with translation.override("en"):
        in_english = stored_by(remote)

    assert REMOTE_ID.sub("conv_…", in_german) == REMOTE_ID.sub("conv_…", in_english)
    assert "Paused." in in_german
    assert "“displayName” must be a string" in json.loads(in_german)


def test_stored_error_is_explained_to_each_in_their_language():
    error = TransportError(operation="list", reason="the connection was refused", sent=False)
    stored = json.loads(json.dumps(error.params))

    with translation.override("de"):
        german = explain(error.code, stored)
    with translation.override("en"):
        english = explain(error.code, stored)

    assert german.startswith(
        "Orq war zum Auflisten von Konversationen nicht erreichbar: die Verbindung wurde abgelehnt."
    )
    assert english == str(error)


@pytest.mark.parametrize("error", ERRORS[1:], ids=lambda error: type(error).__name__)
def test_error_is_english_for_logs_and_in_the_readers_language_for_people(error: OrqError):
    with translation.override("de"):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 # our own bytes
        assert str(copy) == str(error)
        assert copy.message == explain(copy.code, json.loads(json.dumps(copy.params, default=str)))
        assert copy.message != str(copy)
        assert english_in(copy.message) == []


def test_text_of_the_server_is_never_taken_for_a_template():
    said = "{operation} {status.__class__} {0} %(status)s {"
    error = APIError(operation="list", status=418, headers={}, server_message=said)

    for language in ("de", "en"):
        with translation.override(language):
            assert said in error.message
            assert said in explain(error.code, error.params)


def test_error_of_another_version_is_explained_in_the_readers_language():
    with translation.override("de"):
        assert explain("of_another_version", {}) == "Mit Orq ist etwas schiefgegangen. (of_another_version)"


def test_reason_of_another_version_is_shown_as_it_is():
    error = TransportError(operation="list", reason="it failed with {what}", sent=False)

    assert error.reason == "it failed with {what}"
    assert "it failed with {what}" in error.message


def test_log_is_english_whatever_language_is_active(remote, caplog, settings):
    caplog.set_level(logging.DEBUG, logger="django_orq")
    configure(settings, RETRIES={"attempts": 1})
    remote.fail("list", status=503)
    with translation.override("de"):
        full_run()
        with pytest.raises(InvalidName) as refused:
            verbs.create_conversation(display_name="")

    assert [
        text for text in (entry.msgstr for entry in catalogue("de")) if text.count(" ") > 2 and text in caplog.text
    ] == []
    assert caplog.text
    assert str(refused.value) == "A conversation needs a name."


# Without Django


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (WITHOUT_DJANGO, "A conversation needs a name. A conversation needs a name."),
        (BEFORE_SETUP, "A conversation needs a name."),
    ],
    ids=["no settings", "no setup"],
)
def test_messages_are_english_where_django_is_not_set_up(program: str, said: str):
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    outcome = subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-c", program], cwd=PACKAGE.parent, env=environ, capture_output=True, text=True, check=False
    )

    assert (outcome.stdout.strip(), outcome.stderr) == (said, "")
