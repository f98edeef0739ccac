"""Messages are composed when they are read, in the active language; stored and logged texts are English."""

import html
import json
import logging
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import translation

from django_orq import mirror as verbs
from django_orq.exceptions import APIError, InvalidName, TransportError, explain
from django_orq.models import OperationItem, RejectedPayload, SyncRun

from .resting import error_of
from .walking import full_run

GERMAN = {
    "Something went wrong with Orq.": "Mit Orq ging etwas schief.",
    "A conversation needs a name.": "Eine Konversation braucht einen Namen.",
    APIError.template: "Antwort auf {operation}: {status}{detail}.",
    "The {operation} request to Orq failed: {reason}.\nCheck the network, BASE_URL and API_KEY.": (
        "Orq ist nicht erreichbar: {reason}."
    ),
    "“displayName” must be a string": "„displayName“ muss Text sein",
}
BEFORE_SETUP = """
from django.conf import settings
{setup}
from django_orq.service import ConversationService
try:
    ConversationService(api_key="key").create(display_name="")
except Exception as error:
    print(error, error.message)
"""


@pytest.fixture(autouse=True)
def german(settings, tmp_path: Path):
    """A message catalogue of the project, and a site that responds in the language of the user's browser."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "django.mo").write_bytes(compiled({"": "Content-Type: text/plain; charset=UTF-8\n"} | GERMAN))
    settings.LOCALE_PATHS = [tmp_path]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    yield
    translation.deactivate()  # the language of a request stays with its thread, which here is that of the tests


def compiled(texts: dict[str, str]) -> bytes:
    """The catalogue in GNU gettext's ``.mo`` format: a header, two tables of lengths and offsets, and the texts."""
    strings = [text.encode() for text in (*sorted(texts), *(texts[name] for name in sorted(texts)))]
    header, table, offset = 28, b"", 28 + 8 * len(strings)
    for string in strings:
        table += struct.pack("<2I", len(string), offset)
        offset += len(string) + 1
    head = struct.pack("<7I", 0x950412DE, 0, len(texts), header, header + 8 * len(texts), 0, 0)
    return head + table + b"".join(string + b"\0" for string in strings)


@pytest.fixture
def reader() -> Client:
    """A superuser who reads German."""
    client = Client(headers={"Accept-Language": "de"})
    client.force_login(User.objects.create_superuser("admin"))
    return client


def test_error_is_english_for_logs_and_in_the_language_of_who_reads_it():
    error = TransportError(operation="list", reason="the connection was refused", sent=False)
    stored = json.loads(json.dumps(error.params))

    with translation.override("de"):
        assert error.message == explain(error.code, stored) == "Orq ist nicht erreichbar: the connection was refused."
        assert InvalidName(reason="A conversation needs a name.").message == "Eine Konversation braucht einen Namen."
        assert explain("of_another_version", {}) == "Mit Orq ging etwas schief. (of_another_version)"
        assert str(error).startswith("The list request to Orq failed")
    assert error.message == str(error)


@pytest.mark.parametrize("language", ["de", "en"])
def test_text_of_the_server_is_never_taken_for_a_template(language):
    said = "{operation} {status.__class__} {0} %(status)s {"
    error = APIError(operation="list", status=418, headers={}, server_message=said)

    with translation.override(language):
        assert said in error.message
        assert said in explain(error.code, error.params)


@pytest.mark.django_db(transaction=True)
def test_pages_and_rest_answers_are_in_the_readers_language(reader, remote):
    remote.add("Odd", displayName=None)
    run = full_run()
    remote.fail("create", status=418, body='{"message": "No"}')

    page = reader.get(reverse("admin:django_orq_rejectedpayload_changelist")).content.decode()
    answer = reader.post("/orq/conversations/", {"display_name": "New"}, "application/json")

    assert run.state == SyncRun.State.PARTIAL
    assert "„displayName“ muss Text sein" in html.unescape(page)
    assert error_of(answer)["message"] == "Antwort auf create: 418: No."


@pytest.mark.django_db(transaction=True)
def test_what_is_stored_or_logged_is_english_whoever_did_it(reader, remote, caplog):
    caplog.set_level(logging.DEBUG, "django_orq")
    row = verbs.fetch_conversation(remote_id=remote.add("Refund")["_id"])
    remote.add("Odd", displayName=None)
    with translation.override("de"):
        full_run()
        remote.fail("list", status=418)
        full_run()
    remote.fail("delete", drop="after")
    reader.post(reverse("admin:django_orq_conversation_delete", args=[row.pk]), {"post": "yes"})

    kept = [
        *SyncRun.objects.values_list("mode", "state", "error_code", "error_params", "needs_approval", "wait"),
        *RejectedPayload.objects.values_list("reason"),
        *OperationItem.objects.values_list("state", "error_code", "error_params", "note"),
        *LogEntry.objects.values_list("change_message"),
    ]
    written = str(kept) + caplog.text
    assert "displayName” must be a string" in written
    assert "api_error" in written
    assert not [text for text in ("muss Text", "schief", "Antwort auf", "nicht erreichbar") if text in written]


@pytest.mark.parametrize("setup", ["", 'settings.configure(LANGUAGE_CODE="de")'], ids=["no settings", "no setup"])
def test_messages_are_english_where_django_is_not_set_up(setup: str):
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    outcome = subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-c", BEFORE_SETUP.format(setup=setup)],
        cwd=Path(__file__).parent.parent,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (outcome.stdout.strip(), outcome.stderr) == (
        "A conversation needs a name. A conversation needs a name.",
        "",
    )
