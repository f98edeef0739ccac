"""Every error of the REST API, provoked through the sandbox and requested over real sockets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, InternalError, OperationalError, connection
from django.http import Http404
from rest_framework.authentication import BasicAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import exception_handler

from django_orq import mirror as verbs
from django_orq.exceptions import MirrorContended
from django_orq.mirror import fetch_conversation, refresh_conversation
from django_orq.models import Conversation, SyncRun
from django_orq.rest.base import WorkspaceViewSet
from django_orq.rest.errors import SECONDS_TO_WAIT
from django_orq.rest.views import ConversationViewSet

from ..brokering import refusing_port
from ..celery import app
from ..resting import LIST, RUNS, Program, error_of, page_of
from ..walking import configure

pytestmark = pytest.mark.django_db(transaction=True)
FETCH = f"{LIST}fetch/"
NOWHERE = "conv_" + "0" * 26
JSON = {"Content-Type": "application/json"}
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def row(remote, program) -> Conversation:
    row = fetch_conversation(remote_id=remote.add("Refund")["_id"])
    remote.clear_requests()
    return row


@pytest.fixture
def impatient(settings, remote):
    configure(settings, READ_TIMEOUT=1)
    return remote


REFUSING = """
CREATE TRIGGER of_the_project BEFORE UPDATE ON django_orq_conversation
WHEN NEW.display_name = 'Paid' BEGIN SELECT RAISE(ABORT, 'not here'); END
"""


def write(program: Program, row: Conversation, verb: str) -> Any:
    match verb:
        case "create":
            return program.post(LIST, json={"display_name": "New"})
        case "rename":
            return program.patch(page_of(row), json={"display_name": "Paid"})
        case "delete":
            return program.delete(page_of(row))
        case "refresh":
            return program.post(f"{page_of(row)}refresh/")
    return program.post(FETCH, json={"remote_id": row.remote_id})


VERBS = ("create", "rename", "delete", "refresh", "fetch")
FIRST_ASKED = dict.fromkeys(VERBS, "retrieve") | {"create": "create", "delete": "delete"}
"""The first remote operation of each."""
HINTS = {
    "create": ("create", "Look for it before you create it again"),
    "rename": ("update", "It is safe to rename it again"),
    "delete": ("delete", "It is safe to delete it again"),
}
each_verb = pytest.mark.parametrize("verb", VERBS)
each_that_asks_first = pytest.mark.parametrize("verb", ["rename", "refresh", "fetch"])


class TestTheCallersMistakes:
    @pytest.mark.parametrize(
        "name", ["", "   ", "x" * 101, "two\nlines", "\ud800", "\0", None, True, ["a"], {"a": 1}], ids=repr
    )
    @pytest.mark.parametrize("verb", ["post", "patch"])
    def test_bad_name_is_refused_before_anything_is_sent(self, program, remote, row, verb, name):
        url = LIST if verb == "post" else page_of(row)
        response = program.request(verb, url, json={"display_name": name})

        assert response.status_code == 400
        assert error_of(response)["code"] in ("invalid_name", "invalid")
        assert response.json()["errors"].keys() == {"display_name"}
        assert response.json()["remote_status"] is None
        assert remote.count() == 0

    def test_bad_name_is_called_that(self, program):
        answer = error_of(program.post(LIST, json={"display_name": "x" * 101}))

        assert answer["code"] == "invalid_name"
        assert answer["message"] == "A name can have at most 100 characters."
        assert answer["errors"] == {"display_name": [answer["message"]]}

    @pytest.mark.parametrize(
        ("body", "name", "problem"),
        [
            ({}, "display_name", "This field is required."),
            (["Refund"], "non_field_errors", "Invalid data. Expected a dictionary, but got list."),
        ],
        ids=str,
    )
    def test_missing_name_is_named(self, program, row, body, name, problem):
        for response in (program.post(LIST, json=body), program.patch(page_of(row), json=body)):
            assert response.status_code == 400
            assert error_of(response) == {
                "code": "invalid",
                "message": f"{name}: {problem}".removeprefix("non_field_errors: "),
                "remote_status": None,
                "errors": {name: [problem]},
            }

    @pytest.mark.parametrize(
        ("method", "headers", "status", "code"),
        [
            ("post", JSON, 400, "parse_error"),
            ("post", {"Content-Type": "text/csv"}, 415, "unsupported_media_type"),
            ("get", {"Accept": "application/xml"}, 406, "not_acceptable"),
            ("put", JSON, 405, "method_not_allowed"),
        ],
    )
    def test_request_that_cannot_be_read_or_answered_is_refused(self, program, remote, method, headers, status, code):
        response = program.request(method, LIST, data="{", headers=headers)

        assert response.status_code == status
        assert error_of(response)["code"] == code
        assert remote.count() == 0

    @pytest.mark.parametrize("accept", ["application/json", "text/html"])
    @pytest.mark.parametrize("place", ["params", "data", "files"])
    def test_too_many_fields_or_files_are_refused(self, program, remote, settings, place, accept):
        settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
        many = {name: name for name in ("display_name", "a", "b", "c")}

        response = program.post(LIST, headers={"Accept": accept}, **{place: many})

        assert response.status_code == 400
        assert error_of(response)["code"] == "parse_error"
        assert remote.count() == 0

    @pytest.mark.parametrize(
        ("path", "name", "value"),
        [
            (FETCH, "remote_id", '"nonsense"'),
            (FETCH, "remote_id", "null"),
            (FETCH, "remote_id", f'"conv_{"I" * 26}"'),
            (RUNS, "mode", '"confirm"'),
            (RUNS, "mode", '"\\ud800"'),  # no answer can quote it
            (f"{RUNS}1/approve/", "reason", '""'),
            (f"{RUNS}1/approve/", "reason", '"\\ud800"'),
            ("", "expected_updated_at", '"2026-13-01T00:00:00Z"'),
            ("", "expected_updated_at", "7"),
        ],
    )
    def test_value_without_sense_is_refused_and_named(self, program, remote, row, path, name, value):
        SyncRun.objects.create(pk=1, workspace="default", mode="full", state="failed", finished_at=datetime.now(UTC))
        body = f'{{"{name}": {value}' + ("}" if path else ', "display_name": "Paid"}')

        response = program.request("post" if path else "patch", path or page_of(row), data=body, headers=JSON)

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == {name}
        assert remote.count() == 0
        assert SyncRun.objects.count() == 1

    @pytest.mark.parametrize(
        ("zone", "moment"), [("Asia/Tokyo", "0001-01-01"), ("America/Chicago", "9999-12-31T23:59:59.999999")]
    )
    def test_time_that_is_none_in_the_zone_of_the_server_is_refused(self, program, row, settings, zone, moment):
        settings.TIME_ZONE = zone

        asked = program.get(LIST, params={"created_after": moment})
        renamed = program.patch(page_of(row), json={"display_name": "Paid", "expected_updated_at": moment})

        assert [asked.status_code, renamed.status_code] == [400, 400]

    @pytest.mark.parametrize(
        ("url", "query"),
        [
            (LIST, {"state": "gone"}),
            (LIST, {"created_after": "yesterday"}),
            (LIST, {"created_before": "2026-02-30"}),
            (LIST, {"updated_after": "\0"}),
            (LIST, {"page_size": "0"}),
            (LIST, {"page_size": "101"}),
            (LIST, {"search": "\0"}),
            (LIST, {"search": "x" * 101}),
            (RUNS, {"mode": "half"}),
            (RUNS, {"state": "gone"}),
            (RUNS, {"page_size": "many"}),
        ],
        ids=str,
    )
    def test_query_without_sense_is_refused_and_named(self, program, url, query):
        response = program.get(url, params=query)

        assert response.status_code == 400
        assert error_of(response)["code"] == "invalid"
        assert response.json()["errors"].keys() == query.keys()


class TestWhatIsNotThere:
    @pytest.mark.parametrize("remote_id", [NOWHERE, "nonsense", "conv_%00", "%F0%9F%98%80"])
    @pytest.mark.parametrize("method", ["get", "patch", "delete"])
    def test_unknown_conversation_is_404(self, program, remote, method, remote_id):
        response = program.request(method, f"{LIST}{remote_id}/", json={"display_name": "Paid"})

        assert response.status_code == 404
        assert error_of(response)["code"] == "not_found"
        assert "conversations/fetch/" in response.json()["message"]
        assert remote.count() == 0

    @pytest.mark.parametrize("number", ["7", "0", "seven", "-1", "1.5", "9" * 30, "%00"])
    def test_unknown_run_is_404(self, program, number):
        for response in (program.get(f"{RUNS}{number}/"), program.post(f"{RUNS}{number}/cancel/")):
            assert response.status_code == 404
            assert error_of(response)["code"] == "not_found"

    @pytest.mark.parametrize("cursor", ["rubbish", "cD0lMDA=", "cD1hYmM=", "bz0xJnI9eA==", "é"])
    @pytest.mark.parametrize("url", [LIST, RUNS])
    def test_page_that_never_was_is_404(self, program, url, cursor):
        response = program.get(url, params={"cursor": cursor})

        assert response.status_code == 404
        assert error_of(response)["code"] == "invalid_cursor"

    @pytest.mark.parametrize("workspace", ["nowhere", "", "\0", "default "])
    def test_unknown_workspace_is_404_everywhere(self, program, remote, workspace):
        every = [("get", LIST), ("post", LIST), ("get", f"{LIST}{NOWHERE}/"), ("patch", f"{LIST}{NOWHERE}/")]
        every += [("delete", f"{LIST}{NOWHERE}/"), ("post", f"{LIST}{NOWHERE}/refresh/"), ("post", FETCH)]
        every += [("get", RUNS), ("post", RUNS), ("get", f"{RUNS}1/")]
        every += [("post", f"{RUNS}1/{verb}/") for verb in ("pause", "resume", "approve", "cancel")]
        for method, url in every:
            response = program.request(method, url, params={"workspace": workspace}, json={"display_name": "New"})

            assert response.status_code == 404
            assert error_of(response)["code"] == "unknown_workspace"
        assert remote.count() == 0

    @each_that_asks_first
    def test_conversation_that_orq_does_not_know_is_404_and_marked_missing(self, program, remote, row, verb):
        remote.remove(row.remote_id)

        response = write(program, row, verb)

        assert response.status_code == 404
        assert error_of(response)["code"] == "conversation_not_found"
        assert response.json()["remote_status"] == 404
        assert Conversation.objects.get().state == "missing"


class TestConflicts:
    @pytest.mark.parametrize("is_mirrored", [False, True])
    def test_rename_that_would_replace_a_newer_one_is_409_with_what_is_there(
        self, program, remote, row, settings, is_mirrored
    ):
        settings.TIME_ZONE = "Asia/Tokyo"
        settings.REST_FRAMEWORK = {"DATETIME_FORMAT": "%d.%m.%Y %H:%M:%S"}  # no fractions of a second
        seen = program.get(page_of(row)).json()
        remote.rename(row.remote_id, "Somebody’s")
        if is_mirrored:
            refresh_conversation(row)
        response = program.patch(
            page_of(row), json={"display_name": "Mine", "expected_updated_at": seen["remote_updated_at"]}
        )

        assert response.status_code == 409
        answer = error_of(response)
        assert answer["code"] == "conversation_changed"
        assert answer["current"]["display_name"] == remote.get(row.remote_id)["displayName"] == "Somebody’s"
        assert answer["current"]["updated_at"] == program.get(page_of(row)).json()["remote_updated_at"]

        again = {"display_name": "Mine", "expected_updated_at": answer["current"]["updated_at"]}
        assert program.patch(page_of(row), json=again).status_code == 200
        assert remote.get(row.remote_id)["displayName"] == "Mine"


class TestOrqInTrouble:
    @each_verb
    @pytest.mark.parametrize(
        ("fault", "status", "code", "retry_after"),
        [
            ({"status": 429}, 429, "rate_limited", SECONDS_TO_WAIT),
            ({"status": 429, "headers": {"Retry-After": "7"}}, 429, "rate_limited", 7),
            ({"status": 429, "headers": {"Retry-After": "3601"}}, 429, "rate_limited", 3600),
            ({"status": 500}, 503, "server_error", SECONDS_TO_WAIT),
            ({"status": 503}, 503, "server_error", SECONDS_TO_WAIT),
            ({"status": 401}, 502, "remote_authentication_failed", None),
            ({"status": 403}, 502, "permission_refused", None),
            ({"status": 422, "body": '{"message": "No"}'}, 502, "api_error", None),
            (None, 503, "transport_error", SECONDS_TO_WAIT),  # out of reach
        ],
        ids=str,
    )
    def test_refusal_is_told_with_its_status(self, program, remote, row, verb, fault, status, code, retry_after):
        remote.fail(FIRST_ASKED[verb], **fault) if fault else remote.stop()

        response = write(program, row, verb)

        assert response.status_code == status
        assert (error_of(response)["code"], response.json()["remote_status"]) == (code, fault and fault["status"])
        assert response.headers.get("Retry-After") == (retry_after and str(retry_after))
        assert "hint" not in response.json()
        assert remote.api_key not in response.text

    @each_verb
    def test_wait_that_orq_asks_for_binds_what_follows(self, program, remote, row, verb):
        remote.fail(FIRST_ASKED[verb], status=429, headers={"Retry-After": "7"})

        write(program, row, verb)
        response = write(program, row, "refresh")

        assert response.status_code == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 7
        assert (error_of(response)["code"], response.json()["remote_status"]) == ("must_wait", None)
        assert remote.count() == 1

    @each_that_asks_first
    @pytest.mark.parametrize(
        ("fault", "status", "code", "remote_status"),
        [
            ({"status": 200, "body": "<html>"}, 502, "malformed_response", 200),
            ({"drop": "after"}, 502, "transport_error", None),
            ({"delay": 2}, 504, "transport_error", None),
            ({"status": 502}, 503, "server_error", 502),
            ({"status": 504}, 503, "server_error", 504),
        ],
        ids=str,
    )
    def test_question_without_a_good_answer_leaves_no_doubt(
        self, program, impatient, row, verb, fault, status, code, remote_status
    ):
        impatient.fail("retrieve", **fault)

        response = write(program, row, verb)

        assert response.status_code == status
        assert (error_of(response)["code"], response.json()["remote_status"]) == (code, remote_status)
        assert "hint" not in response.json()

    @pytest.mark.parametrize("verb", ["create", "rename", "delete"])
    @pytest.mark.parametrize(
        "fault",
        [
            {"drop": "after"},
            {"delay": 2},
            {"status": 502, "applied": True},
            {"status": 504},
            {"status": 200, "body": "<html>"},
        ],
        ids=str,
    )
    def test_write_whose_outcome_nobody_knows_is_504_with_a_hint(self, program, impatient, row, verb, fault):
        operation, hint = HINTS[verb]
        impatient.fail(operation, **fault)
        impatient.fail("retrieve", after=1, status=500)  # by which a rename would learn of it

        response = write(program, row, verb)

        assert response.status_code == 504
        assert hint in error_of(response)["hint"]
        assert "Retry-After" not in response.headers
        assert impatient.count(operation) == 1

    @each_verb
    def test_orq_is_asked_once_while_the_caller_waits(self, program, remote, row, verb, settings):
        configure(settings, RETRIES={"attempts": 3, "initial_interval": 0.01})
        remote.fail(times=None, status=500)

        write(program, row, verb)

        assert remote.count() == 1

    def test_slow_orq_is_given_up_after_fifteen_seconds(self, program, remote, row, monkeypatch):
        monkeypatch.setattr("django_orq.conf.INTERACTIVE_SECONDS", 0.5)
        remote.fail("retrieve", drip=0.05)

        response = write(program, row, "refresh")

        assert response.status_code == 504
        assert response.elapsed < timedelta(seconds=5)


class TestThisSideInTrouble:
    @pytest.mark.parametrize(
        ("verb", "status", "code"),
        [("refresh", 503, "mirror_contended"), ("create", 202, "mirror_behind"), ("rename", 202, "mirror_behind")],
    )
    def test_mirror_that_others_keep_changing_is_no_failure_of_what_orq_did(
        self, program, remote, row, monkeypatch, verb, status, code
    ):
        """The database is patched: three collisions of two writers in a row cannot be staged."""

        def contend(*args: Any, **kwargs: Any) -> None:
            raise MirrorContended

        monkeypatch.setattr(verbs, "reconcile", contend)

        response = write(program, row, verb)

        assert response.status_code == status
        assert error_of(response)["code"] == code
        assert ("Retry-After" in response.headers) is (status == 503)
        if status == 202:
            assert "Do not repeat it" in response.json()["message"]
            assert response.json()["remote_id"] == remote.conversations[0]["_id"]
            assert response.json()["replaced"] is None

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="test_characters has the refusals of the others")
    @pytest.mark.parametrize(
        ("verb", "status", "code"),
        [("refresh", 500, "row_refused"), ("fetch", 500, "row_refused"), ("rename", 202, "mirror_behind")],
    )
    def test_conversation_that_the_database_refuses(self, program, remote, row, verb, status, code):
        if verb != "rename":
            remote.rename(row.remote_id, "Paid")
        with connection.cursor() as cursor:
            cursor.execute(REFUSING)
        try:
            response = write(program, row, verb)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP TRIGGER of_the_project")

        assert (response.status_code, error_of(response)["code"]) == (status, code)
        assert "not here" not in response.text
        assert "Retry-After" not in response.headers

    @pytest.mark.parametrize("kind", [OperationalError, InterfaceError, InternalError])
    @pytest.mark.parametrize("accept", ["application/json", "text/html"])
    @pytest.mark.parametrize(
        ("owner", "name"),
        [(ConversationViewSet, "get_queryset"), (BasicAuthentication, "authenticate_credentials")],
        ids=["rows", "user"],
    )
    def test_database_in_trouble_is_503(self, program, monkeypatch, kind, accept, owner, name):
        """The database is patched: no lock of ours lasts as long as its lock timeout."""

        def fail(*args: Any, **kwargs: Any) -> None:
            raise kind("database is locked")

        monkeypatch.setattr(owner, name, fail)

        response = program.get(LIST, headers={"Accept": accept})

        assert response.status_code == 503
        assert error_of(response)["code"] == "database_trouble"
        assert response.headers["Retry-After"] == str(SECONDS_TO_WAIT)
        assert "locked" not in response.text

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="there a database can be set so")
    def test_database_that_can_only_be_read_is_503(self, program, remote, row):
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        remote.rename(row.remote_id, "Paid")
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            try:
                responses = [write(program, row, verb) for verb in ("refresh", "fetch")]
            finally:
                cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

        assert [response.status_code for response in responses] == [503, 503]
        assert [error_of(response)["code"] for response in responses] == ["database_trouble"] * 2

    @pytest.mark.parametrize(
        "workspaces", [{"default": {"API_KEY": ""}}, {"default": {"API_KEY": "sëcret-key"}}, "secret-key"], ids=repr
    )
    def test_missing_configuration_is_500_without_details(self, program, settings, workspaces):
        settings.ORQ_WORKSPACES = workspaces

        response = program.post(LIST, json={"display_name": "New"})

        assert response.status_code == 500
        assert error_of(response)["code"] == "not_configured"
        assert "cret-key" not in response.text
        assert "Ask the site's administrator." in response.json()["message"]

    def test_mirror_can_be_read_where_no_workspace_is_configured(self, program, settings, row):
        settings.ORQ_WORKSPACES = None

        assert program.get(LIST).json()["results"][0]["remote_id"] == row.remote_id
        assert program.post(LIST, json={"display_name": "New"}).status_code == 500


class TestRuns:
    @pytest.fixture
    def broker_out_of_reach(self):
        before = app.conf.broker_url
        with refusing_port() as port:
            app.conf.update(broker_url=f"amqp://127.0.0.1:{port}")
            yield
        app.conf.update(broker_url=before)

    @pytest.mark.parametrize("verb", ["create", "resume", "approve"])
    def test_broker_out_of_reach_is_503_and_the_run_stays_queued(self, program, broker_out_of_reach, verb):
        columns = {"create": {}, "resume": {"state": "paused", "slot": "default:full"}}
        times = dict.fromkeys(("started_at", "finished_at"), datetime.now(UTC))
        stopped = {"state": "partial", "needs_approval": "no_canary", **times}
        if verb != "create":
            SyncRun.objects.create(pk=1, workspace="default", mode="full", **columns.get(verb, stopped))
        url = RUNS if verb == "create" else f"{RUNS}1/{verb}/"

        response = program.post(url, json={"mode": "full", "reason": "no_canary"})

        assert response.status_code == 503
        assert response.headers["Retry-After"] == str(SECONDS_TO_WAIT)
        answer = error_of(response)
        assert answer["code"] == "broker_unreachable"
        assert "no worker could be notified" in answer["message"]
        assert (answer["run"]["mode"], answer["run"]["state"]) == ("full", "queued")
        assert SyncRun.objects.get().state == "queued"

    @pytest.mark.parametrize(
        "columns",
        [
            {"state": "running", "lease_until": datetime.now(UTC) + AN_HOUR},
            {"state": "queued", "enqueued_at": datetime.now(UTC) + AN_HOUR},
            {"state": "waiting", "wait": "retry_after", "resume_at": datetime.now(UTC) + AN_HOUR},
        ],
        ids=lambda columns: columns["state"],
    )
    @pytest.mark.parametrize(("verb", "code"), [("", "sync_run_unfinished"), ("1/resume/", "sync_run_not_paused")])
    def test_run_that_is_under_way_is_409_and_shown(self, program, queue, columns, verb, code):
        run = SyncRun.objects.create(pk=1, workspace="default", mode="full", slot="default:full", **columns)

        response = program.post(f"{RUNS}{verb}", json={"mode": "full"})

        assert response.status_code == 409
        answer = error_of(response)
        assert answer["code"] == code
        assert answer["run"] == program.get(f"{RUNS}{run.pk}/").json()
        assert queue.qsize() == 0

    @pytest.mark.parametrize(
        ("verb", "code"),
        [
            ("pause", "sync_run_not_running"),
            ("resume", "sync_run_not_paused"),
            ("approve", "not_awaiting_approval"),
            ("cancel", "sync_run_finished"),
        ],
    )
    def test_run_that_has_ended_is_left_alone(self, program, queue, verb, code):
        columns = {"state": "partial", "needs_approval": "mass_delete", "finished_at": datetime.now(UTC)}
        run = SyncRun.objects.create(workspace="default", mode="full", wait="budget", **columns)

        response = program.post(f"{RUNS}{run.pk}/{verb}/", json={"reason": "no_canary"})

        assert response.status_code == 409
        assert error_of(response)["code"] == code
        assert response.json()["run"] == program.get(f"{RUNS}{run.pk}/").json()
        assert response.json()["run"]["needs_approval"] == "mass_delete"
        assert queue.qsize() == 0

    def test_approval_that_is_refused_says_why(self, program, queue):
        run = SyncRun.objects.create(
            workspace="default",
            mode="full",
            state="partial",
            needs_approval="mass_delete",
            started_at=datetime.now(UTC) - AN_HOUR,
            finished_at=datetime.now(UTC),
        )
        unfinished = SyncRun.objects.create(workspace="default", mode="full", slot="default:full")

        response = program.post(f"{RUNS}{run.pk}/approve/", json={"reason": "mass_delete"})

        assert response.status_code == 409
        assert error_of(response)["code"] == "approval_refused"
        assert str(unfinished.pk) in response.json()["message"]
        assert response.json()["run"]["needs_approval"] == "mass_delete"


def test_wrong_password_is_401_where_an_authenticator_challenges(program, monkeypatch):
    monkeypatch.setattr(WorkspaceViewSet, "authentication_classes", (BasicAuthentication,))
    program.auth = ("agent", "wrong")
    response = program.get(LIST)

    assert response.status_code == 401
    assert error_of(response)["code"] == "authentication_failed"


def in_own_shape(error: Exception, context: Any) -> Response:
    """A project's ``EXCEPTION_HANDLER``."""
    response = exception_handler(error, context)
    return Response({"problem": type(error).__name__}, status=response.status_code if response else 500)


class TestExceptionHandlerOfTheProject:
    @pytest.fixture(autouse=True)
    def project(self, settings):
        settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": f"{__name__}.in_own_shape"}

    @pytest.mark.parametrize(
        ("method", "url", "status", "problem"),
        [
            ("post", LIST, 400, "ValidationError"),
            ("get", f"{LIST}?{'a&' * 5000}", 400, "ParseError"),
            ("delete", f"{RUNS}1/", 403, "PermissionDenied"),
            ("get", f"{LIST}{NOWHERE}/", 404, "NotFound"),
            ("put", LIST, 405, "MethodNotAllowed"),
        ],
    )
    def test_it_shapes_errors_of_rest_framework(self, program, method, url, status, problem):
        response = program.request(method, url, json={})

        assert (response.status_code, response.json()) == (status, {"problem": problem})

    @pytest.mark.parametrize(("error", "status"), [(PermissionDenied, 403), (Http404, 404), (ZeroDivisionError, 500)])
    def test_it_shapes_what_the_project_raises(self, program, monkeypatch, error, status):
        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr(BasicAuthentication, "authenticate", fail)
        response = program.get(LIST)

        assert (response.status_code, response.json()) == (status, {"problem": error.__name__})

    def test_errors_with_codes_of_this_app_keep_their_shape(self, program, remote, row, settings):
        remote.fail("retrieve", status=403)
        run = SyncRun.objects.create(workspace="default", mode="full", state="failed", finished_at=datetime.now(UTC))

        responses = [write(program, row, "refresh"), program.post(f"{RUNS}{run.pk}/pause/")]
        responses += [program.get(LIST, params=query) for query in ({"workspace": "nowhere"}, {"cursor": "rubbish"})]
        settings.ORQ_WORKSPACES = {"default": {"API_KEY": ""}}
        responses.append(write(program, row, "create"))

        codes = ["permission_refused", "sync_run_not_running", "unknown_workspace", "invalid_cursor", "not_configured"]
        assert [error_of(response)["code"] for response in responses] == codes


class OwnThrottle(ScopedRateThrottle):
    """A project's."""


class TestThrottling:
    @pytest.fixture(autouse=True)
    def rates(self, settings, monkeypatch):
        """Set ``DEFAULT_THROTTLE_RATES``, which REST framework reads only once."""
        cache = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(id(self))}
        settings.CACHES = {"default": cache}
        rates: dict[str, str] = {}
        monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", rates)
        return rates

    @pytest.mark.parametrize("throttles", [(), (ScopedRateThrottle,), (OwnThrottle,)], ids=str)
    def test_writes_are_throttled_where_a_rate_is_configured(self, program, row, rates, monkeypatch, throttles):
        monkeypatch.setattr(WorkspaceViewSet, "throttle_classes", throttles)
        rates["orq-write"] = "2/hour"

        codes = [write(program, row, verb).status_code for verb in ("refresh", "rename")]
        refused = program.post(LIST, json={"display_name": "New"})

        assert codes == [200, 200]
        assert refused.status_code == 429
        assert 3500 < int(refused.headers["Retry-After"]) <= 3600
        assert (error_of(refused)["code"], refused.json()["remote_status"]) == ("throttled", None)
        assert program.get(LIST).status_code == 200
        assert program.post(RUNS, json={}).status_code == 202

    def test_starting_runs_is_throttled_by_a_rate_of_its_own(self, program, queue, rates):
        rates["orq-sync"] = "1/hour"

        codes = [program.post(RUNS, json={"mode": mode}).status_code for mode in ("full", "incremental")]
        run = f"{RUNS}{SyncRun.objects.get().pk}"
        codes += [program.post(f"{run}/{verb}/").status_code for verb in ("pause", "resume", "cancel")]

        assert codes == [202, 429, 200, 429, 200]
        assert program.get(f"{run}/").status_code == 200
