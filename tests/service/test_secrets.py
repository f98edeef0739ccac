"""The API key appears nowhere: each test provokes a failure and searches for the key."""

import json
import logging
import pickle
import traceback

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.views.debug import ExceptionReporter

from django_orq import mirror as verbs
from django_orq.conf import get_workspace
from django_orq.exceptions import OrqError
from django_orq.models import Conversation, RejectedPayload, SyncRun
from django_orq.service import ConversationService
from django_orq.testing import OrqSandbox
from django_orq.transport.http import Reply, _Bearer

from ..walking import configure, full_run

pytestmark = pytest.mark.django_db

KEY = "orq-key-4711-of-the-tests"
ECHO = f'{{"message": "no key {KEY} here", "Authorization": "Bearer {KEY}"}}'
FAULTS = [
    {"status": 401, "body": ECHO},
    {"status": 403, "body": ECHO},
    {"status": 404, "body": ECHO},
    {"status": 429, "body": ECHO},
    {"status": 500, "body": ECHO, "headers": {"X-Echo": KEY}},
    {"status": 302, "headers": {"Location": f"https://evil.test/{KEY}"}},
    {"status": 200, "body": f"not JSON, but {KEY}"},
    {"drop": "before"},
    {"cut": True},
    {"raw": f"HTTP/1.1 500 {KEY}\r\n\r\n".encode()},
    {"raw": f"{KEY}\r\n\r\n".encode()},
]


@pytest.fixture
def keyed(remote, settings):
    remote.api_key = KEY
    configure(settings, API_KEY=KEY)
    return remote


@pytest.fixture
def logged(caplog):
    """All records of all loggers, at any level."""
    caplog.set_level(logging.DEBUG)
    return caplog


def stored() -> str:
    """All columns of all our rows."""
    rows = [*SyncRun.objects.values(), *Conversation.objects.values(), *RejectedPayload.objects.values()]
    return repr(rows)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.get("status", next(iter(fault)))))
def test_key_is_not_in_runs_logs_errors_or_debug_pages(keyed, logged, fault, rf):
    keyed.add("Ticket")
    full_run()
    row = Conversation.objects.get()
    keyed.fail("list", **fault)
    assert full_run().state in ("failed", "waiting")
    keyed.fail("retrieve", **fault)
    with pytest.raises(OrqError) as failure:
        verbs.refresh_conversation(row)

    error = failure.value
    ours = error.__traceback__.tb_next  # without this test, which has the key among its variables
    reporter = ExceptionReporter(rf.get("/"), type(error), error, ours)
    places = {
        "message": str(error),
        "repr": repr(error) + repr(vars(error)),
        "pickle": repr(pickle.dumps(error)),
        "debug page": reporter.get_traceback_html(),
        "debug text": reporter.get_traceback_text(),
        "log": logged.text + repr([record.args for record in logged.records]),
        "database": stored(),
    }
    assert [place for place, text in places.items() if KEY in text] == []


WRONG = {
    "unknown workspace": (lambda options: {"default": options}, "reserch"),
    "unknown option": (lambda options: {"default": options | {"BASEURL": "x"}}, "default"),
    "page size": (lambda options: {"default": options | {"PAGE_SIZE": 1000}}, "default"),
    "retries": (lambda options: {"default": options | {"RETRIES": {"tries": 3}}}, "default"),
    "base URL": (lambda options: {"default": options | {"BASE_URL": "ftp://x"}}, "default"),
    "two lines": (lambda options: {"default": {"API_KEY": f"{KEY}\n{KEY}"}}, "default"),
}


@pytest.mark.parametrize("name", WRONG)
def test_key_is_not_shown_by_errors_of_the_configuration(keyed, settings, rf, name):
    change, alias = WRONG[name]
    settings.ORQ_WORKSPACES = change(settings.ORQ_WORKSPACES["default"])
    with pytest.raises(ImproperlyConfigured) as failure:
        verbs.create_conversation(display_name="New", workspace=alias)

    ours = failure.value.__traceback__.tb_next  # without this test's own variables
    reporter = ExceptionReporter(rf.get("/"), type(failure.value), failure.value, ours)
    shown = reporter.get_traceback_html() + "".join(
        traceback.TracebackException(type(failure.value), failure.value, ours, capture_locals=True).format()
    )
    assert KEY not in shown


def test_what_holds_the_key_is_not_pickled(keyed):
    bearer = _Bearer(get_workspace("default").api_key)
    reply = Reply(status=200, headers={}, text="", redact=bearer.redact)

    for holder in (bearer, reply, get_workspace("default")):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(holder)


def test_key_that_a_list_item_echoes_is_not_stored(keyed):
    keyed.add(f"Key {KEY}", metadata={"key": KEY})
    keyed.transform_list = lambda answer: answer | {"data": [*answer["data"], {"Authorization": f"Bearer {KEY}"}]}

    assert full_run().state == SyncRun.State.PARTIAL
    assert KEY not in stored()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_key_that_a_list_echoes_in_another_encoding_is_not_stored(keyed, encoding):
    item = keyed.add("Ticket", metadata={"key": KEY})
    answer = {"object": "list", "data": [item, {"Authorization": KEY}], "has_more": False}
    keyed.fail("list", status=200, body=json.dumps(answer).encode(encoding))

    assert full_run().error_code == "malformed_response"
    assert KEY not in stored()


def test_word_that_serves_as_a_key_in_a_trial_is_left_in_what_people_write(remote, settings):
    remote.api_key = "demo"
    configure(settings, API_KEY="demo")
    remote.add("Book a demo for Monday")

    full_run()

    assert Conversation.objects.get().display_name == "Book a demo for Monday"


def test_key_is_not_in_any_repr(keyed):
    service = ConversationService.for_workspace()

    assert KEY not in repr(get_workspace("default")) + str(get_workspace("default")) + repr(service) + repr(
        vars(service)
    )


def test_key_is_not_on_the_debug_page_of_a_broken_view(keyed, settings):
    """The page shows the settings too, where Django hides API_KEY."""
    settings.DEBUG = True
    settings.ROOT_URLCONF = "tests.broken_urls"

    page = Client(raise_request_exception=False).get("/broken/")

    assert page.status_code == 500
    assert b"ServerError" in page.content
    assert KEY not in page.content.decode()


def test_key_is_not_in_the_admin(keyed):
    admin = Client()
    admin.force_login(User.objects.create_superuser("admin"))
    keyed.fail("list", status=500, body=ECHO)
    run = full_run()
    keyed.fail("create", status=500, body=ECHO)

    pages = [
        admin.post("/admin/django_orq/conversation/add/", {"display_name": "New"}),
        admin.get("/admin/django_orq/syncrun/"),
        admin.get(f"/admin/django_orq/syncrun/{run.pk}/change/"),
    ]

    assert [page.status_code for page in pages] == [200, 200, 200]
    assert [page for page in pages if KEY in page.content.decode()] == []


def test_key_is_sent_to_no_other_host(keyed, settings):
    """Orq's response is a redirect, which is not followed."""

    with OrqSandbox(api_key=KEY) as other:
        keyed.fail(times=None, status=307, headers={"Location": f"{other.base_url}/v2/conversations"})
        full_run()
        with pytest.raises(OrqError):
            verbs.create_conversation(display_name="New")
        assert other.count() == 0
