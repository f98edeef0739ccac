"""Every error of the REST door, provoked through the sandbox and asked for over real sockets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, InternalError, OperationalError, connection
from rest_framework.authentication import BasicAuthentication

from django_orq.exceptions import MirrorContended
from django_orq.mirror import fetch_conversation, refresh_conversation, verbs
from django_orq.models import Conversation, SyncRun
from django_orq.rest.base import WorkspaceViewSet
from django_orq.rest.errors import SECONDS_TO_WAIT
from django_orq.rest.views import ConversationViewSet

from ..brokering import refusing_port
from ..celery import app
from ..resting import Program, error_of, user_with
from ..walking import configure

pytestmark = pytest.mark.django_db(transaction=True)
LIST, FETCH, RUNS = "/conversations/", "/conversations/fetch/", "/sync-runs/"
NOWHERE = "conv_" + "0" * 26
JSON = {"Content-Type": "application/json"}
NOT_FOUND = {"status": 404, "body": '{"message": "Not here"}'}


def mirrored(remote, name: str = "Refund") -> Conversation:
    return fetch_conversation(remote_id=remote.add(name)["_id"])


def page_of(row: Conversation) -> str:
    return f"{LIST}{row.remote_id}/"


@pytest.fixture
def row(remote, program) -> Conversation:
    row = mirrored(remote)
    remote.clear_requests()
    return row


@pytest.fixture
def impatient(settings, remote):
    configure(settings, READ_TIMEOUT=0.3)
    return remote


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
"""The operation that each begins with."""
each_verb = pytest.mark.parametrize("verb", VERBS)


class TestTheCallersMistakes:
    @pytest.mark.parametrize(
        "name", ["", "   ", "x" * 101, "two\nlines", "\ud800", None, 7, 7.5, True, ["a"], {"a": 1}], ids=repr
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

    @pytest.mark.parametrize("verb", ["post", "patch"])
    def test_number_that_is_too_large_is_no_name(self, program, remote, row, verb):
        url = LIST if verb == "post" else page_of(row)
        response = program.request(verb, url, data='{"display_name": 1e400}', headers=JSON)

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == {"display_name"}
        assert remote.count() == 0

    def test_bad_name_is_called_that(self, program):
        answer = error_of(program.post(LIST, json={"display_name": "x" * 101}))

        assert answer["code"] == "invalid_name"
        assert answer["message"] == "A name has at most 100 characters."
        assert answer["errors"] == {"display_name": [answer["message"]]}

    @pytest.mark.parametrize("verb", ["post", "patch"])
    def test_missing_name_is_named(self, program, row, verb):
        response = program.request(verb, LIST if verb == "post" else page_of(row), json={})

        assert response.status_code == 400
        assert error_of(response) == {
            "code": "invalid",
            "message": "display_name: This field is required.",
            "remote_status": None,
            "errors": {"display_name": ["This field is required."]},
        }

    def test_body_that_is_no_object_is_refused(self, program):
        response = program.post(LIST, json=["Refund"])

        assert response.status_code == 400
        assert error_of(response)["message"].startswith("Invalid data. Expected a dictionary")

    def test_body_that_is_no_json_is_refused(self, program):
        response = program.post(LIST, data="{", headers={"Content-Type": "application/json"})

        assert response.status_code == 400
        assert error_of(response)["code"] == "parse_error"

    def test_body_that_is_nested_too_deeply_is_refused(self, program):
        response = program.post(LIST, data="[" * 100_000, headers=JSON)

        assert response.status_code == 400
        assert error_of(response)["code"] == "parse_error"

    @pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "undefined"])
    @pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"])
    def test_charset_that_no_text_is_in_is_refused(self, program, remote, charset, kind):
        headers = {"Content-Type": f"{kind}; boundary=x; charset={charset}"}
        response = program.post(LIST, data='{"display_name": "Ä"}'.encode(), headers=headers)

        assert response.status_code == 400
        assert error_of(response)["code"] in ("parse_error", "invalid")
        assert remote.count() == 0

    @pytest.mark.parametrize("accept", ["application/json", "text/html"])
    def test_body_that_is_too_large_is_413(self, program, remote, settings, accept):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

        response = program.post(LIST, json={"display_name": "x" * 200}, headers={"Accept": accept})

        assert response.status_code == 413
        assert error_of(response)["code"] == "request_too_large"

    @pytest.mark.parametrize("place", ["params", "data", "files"])
    def test_too_many_fields_or_files_are_refused(self, program, remote, settings, place):
        settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
        many = {name: name for name in ("display_name", "a", "b", "c")}

        response = program.post(LIST, **{place: many})

        assert response.status_code == 400
        assert error_of(response)["code"] == "parse_error"
        assert remote.count() == 0

    def test_half_a_character_can_be_told_of(self, program):
        response = program.post(RUNS, data='{"mode": "\\ud800"}', headers=JSON)

        assert response.status_code == 400
        assert error_of(response)["errors"] == {"mode": ['"\\ud800" is not a valid choice.']}

    def test_body_of_another_kind_is_415(self, program):
        response = program.post(LIST, data="name", headers={"Content-Type": "text/csv"})

        assert response.status_code == 415
        assert error_of(response)["code"] == "unsupported_media_type"

    def test_answer_that_cannot_be_had_is_406(self, program):
        response = program.get(LIST, headers={"Accept": "text/csv"})

        assert response.status_code == 406
        assert error_of(response)["code"] == "not_acceptable"

    def test_put_is_not_offered(self, program, row):
        response = program.put(page_of(row), json={"display_name": "Paid"})

        assert response.status_code == 405
        assert "PUT" not in response.headers["Allow"]
        assert error_of(response)["code"] == "method_not_allowed"

    @pytest.mark.parametrize("remote_id", ["nonsense", "", None, "conv_" + "I" * 26])
    def test_id_to_fetch_must_be_one(self, program, remote, remote_id):
        response = program.post(FETCH, json={"remote_id": remote_id})

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == {"remote_id"}
        assert remote.count() == 0

    @pytest.mark.parametrize("moment", ["yesterday", "2026-13-01T00:00:00Z", 7])
    def test_time_that_a_rename_expects_must_be_one(self, program, remote, row, moment):
        response = program.patch(page_of(row), json={"display_name": "Paid", "expected_updated_at": moment})

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == {"expected_updated_at"}
        assert remote.count() == 0

    @pytest.mark.parametrize(
        "query",
        [
            {"state": "gone"},
            {"created_after": "yesterday"},
            {"created_before": "2026-02-30"},
            {"updated_after": "\0"},
            {"updated_before": "soon"},
            {"page_size": "0"},
            {"page_size": "101"},
            {"page_size": "many"},
            {"search": "\0"},
            {"search": "x" * 101},
        ],
        ids=str,
    )
    def test_query_without_sense_is_refused_and_named(self, program, query):
        response = program.get(LIST, params=query)

        assert response.status_code == 400
        assert error_of(response)["code"] == "invalid"
        assert response.json()["errors"].keys() == query.keys()

    @pytest.mark.parametrize(
        ("zone", "moment"), [("Asia/Tokyo", "0001-01-01"), ("America/Chicago", "9999-12-31T23:59:59.999999")]
    )
    def test_time_that_is_none_in_the_zone_of_the_reader_is_refused_and_named(
        self, program, remote, row, settings, zone, moment
    ):
        settings.TIME_ZONE = zone

        asked = program.get(LIST, params={"created_after": moment})
        renamed = program.patch(page_of(row), json={"display_name": "Paid", "expected_updated_at": moment})

        assert [asked.status_code, renamed.status_code] == [400, 400]
        assert asked.json()["errors"].keys() == {"created_after"}
        assert renamed.json()["errors"].keys() == {"expected_updated_at"}
        assert remote.count() == 0

    @pytest.mark.parametrize("query", [{"mode": "half"}, {"state": "gone"}, {"page_size": "-1"}], ids=str)
    def test_query_of_runs_without_sense_is_refused_and_named(self, program, query):
        response = program.get(RUNS, params=query)

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == query.keys()

    def test_mode_of_a_run_must_be_one_that_can_be_started(self, program):
        response = program.post(RUNS, json={"mode": "confirm"})

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == {"mode"}
        assert not SyncRun.objects.exists()


class TestWhatIsNotThere:
    @pytest.mark.parametrize("remote_id", [NOWHERE, "nonsense", "conv_%00", "%F0%9F%98%80"])
    @pytest.mark.parametrize("method", ["get", "patch", "delete"])
    def test_unknown_conversation_is_404(self, program, remote, method, remote_id):
        response = program.request(method, f"{LIST}{remote_id}/", json={"display_name": "Paid"})

        assert response.status_code == 404
        assert error_of(response)["code"] == "not_found"
        assert "conversations/fetch/" in response.json()["message"]
        assert remote.count() == 0

    @pytest.mark.parametrize("number", ["7", "0", "seven", "-1", "9" * 30, "%00"])
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
        every += [("get", RUNS), ("post", RUNS), ("get", f"{RUNS}1/"), ("post", f"{RUNS}1/cancel/")]
        for method, url in every:
            response = program.request(method, url, params={"workspace": workspace}, json={"display_name": "New"})

            assert response.status_code == 404
            assert error_of(response)["code"] == "unknown_workspace"
        assert remote.count() == 0

    @pytest.mark.parametrize("verb", ["rename", "refresh", "fetch"])
    def test_conversation_that_orq_does_not_know_is_404_and_marked_missing(self, program, remote, row, verb):
        remote.remove(row.remote_id)

        response = write(program, row, verb)

        assert response.status_code == 404
        assert error_of(response)["code"] == "conversation_not_found"
        assert response.json()["remote_status"] == 404
        assert Conversation.objects.get().state == "missing"


class TestConflicts:
    def test_rename_that_would_replace_a_newer_one_is_409_with_what_is_there(self, program, remote, row):
        seen = program.get(page_of(row)).json()
        remote.rename(row.remote_id, "Somebody’s")

        response = program.patch(
            page_of(row), json={"display_name": "Mine", "expected_updated_at": seen["remote_updated_at"]}
        )

        assert response.status_code == 409
        answer = error_of(response)
        assert answer["code"] == "conversation_changed"
        assert answer["current"]["display_name"] == "Somebody’s"
        assert remote.get(row.remote_id)["displayName"] == "Somebody’s"

        again = {"display_name": "Mine", "expected_updated_at": answer["current"]["updated_at"]}
        assert program.patch(page_of(row), json=again).status_code == 200
        assert remote.get(row.remote_id)["displayName"] == "Mine"

    def test_times_of_a_conflict_are_in_the_time_zone_of_all_others(self, program, remote, row, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        remote.rename(row.remote_id, "Somebody’s")

        current = program.patch(page_of(row), json={"display_name": "Mine"}).json()["current"]

        assert current["updated_at"].endswith("+09:00")
        assert current["updated_at"] == program.get(page_of(row)).json()["remote_updated_at"]

    def test_rename_by_one_who_saw_an_older_name_is_409_though_the_mirror_is_up_to_date(self, program, remote, row):
        seen = program.get(page_of(row)).json()["remote_updated_at"]
        remote.rename(row.remote_id, "Somebody’s")
        refresh_conversation(row)

        response = program.patch(page_of(row), json={"display_name": "Mine", "expected_updated_at": seen})

        assert response.status_code == 409
        assert error_of(response)["current"]["display_name"] == "Somebody’s"


class TestOrqInTrouble:
    @each_verb
    def test_wait_that_orq_asks_for_is_429_and_binds_what_follows(self, program, remote, row, verb):
        remote.fail(FIRST_ASKED[verb], status=429, headers={"Retry-After": "7"})

        first, second = write(program, row, verb), write(program, row, "refresh")

        assert first.status_code == second.status_code == 429
        assert first.headers["Retry-After"] == "7"
        assert 1 <= int(second.headers["Retry-After"]) <= 7
        assert (error_of(first)["code"], first.json()["remote_status"]) == ("rate_limited", 429)
        assert (error_of(second)["code"], second.json()["remote_status"]) == ("must_wait", None)
        assert remote.count() == 1

    def test_429_that_does_not_say_how_long_says_so_all_the_same(self, program, remote, row):
        remote.fail("retrieve", status=429)

        response = write(program, row, "refresh")

        assert response.status_code == 429
        assert response.headers["Retry-After"] == str(SECONDS_TO_WAIT)

    @each_verb
    @pytest.mark.parametrize("seconds", [3_601, 7_200, 10**9])
    def test_an_hour_is_the_longest_that_is_told_to_wait(self, program, remote, row, verb, seconds):
        remote.fail(FIRST_ASKED[verb], status=429, headers={"Retry-After": str(seconds)})

        response = write(program, row, verb)

        assert response.status_code == 429
        assert response.headers["Retry-After"] == "3600"

    @each_verb
    @pytest.mark.parametrize("status", [500, 503])
    def test_trouble_of_orq_is_503(self, program, remote, row, verb, status):
        remote.fail(FIRST_ASKED[verb], status=status)

        response = write(program, row, verb)

        assert response.status_code == 503
        assert response.headers["Retry-After"] == str(SECONDS_TO_WAIT)
        assert (error_of(response)["code"], response.json()["remote_status"]) == ("server_error", status)

    @each_verb
    def test_orq_out_of_reach_is_503(self, program, remote, row, verb):
        remote.stop()

        response = write(program, row, verb)

        assert response.status_code == 503
        assert response.headers["Retry-After"] == str(SECONDS_TO_WAIT)
        assert (error_of(response)["code"], response.json()["remote_status"]) == ("transport_error", None)

    @each_verb
    @pytest.mark.parametrize(("status", "code"), [(401, "remote_authentication_failed"), (403, "permission_refused")])
    def test_key_that_orq_refuses_is_the_servers_mistake(self, program, remote, row, verb, status, code):
        remote.fail(FIRST_ASKED[verb], status=status)

        response = write(program, row, verb)

        assert response.status_code == 502
        assert (error_of(response)["code"], response.json()["remote_status"]) == (code, status)
        assert remote.api_key not in response.text

    @each_verb
    def test_refusal_of_another_kind_is_502(self, program, remote, row, verb):
        remote.fail(FIRST_ASKED[verb], status=422, body='{"message": "No"}')

        response = write(program, row, verb)

        assert response.status_code == 502
        assert (error_of(response)["code"], response.json()["remote_status"]) == ("api_error", 422)

    @pytest.mark.parametrize("verb", ["rename", "refresh", "fetch"])
    def test_answer_without_sense_is_502(self, program, remote, row, verb):
        remote.fail("retrieve", status=200, body="<html>")

        response = write(program, row, verb)

        assert response.status_code == 502
        assert (error_of(response)["code"], response.json()["remote_status"]) == ("malformed_response", 200)

    @pytest.mark.parametrize("verb", ["rename", "refresh", "fetch"])
    def test_connection_that_breaks_is_502(self, program, remote, row, verb):
        remote.fail("retrieve", drop="after")

        response = write(program, row, verb)

        assert response.status_code == 502
        assert error_of(response)["code"] == "transport_error"

    @pytest.mark.parametrize("verb", ["rename", "refresh", "fetch", "delete"])
    def test_answer_that_does_not_come_in_time_is_504(self, program, impatient, row, verb):
        impatient.fail(FIRST_ASKED[verb], delay=2)

        response = write(program, row, verb)

        assert response.status_code == 504
        assert (error_of(response)["code"], response.json()["remote_status"]) == ("transport_error", None)
        assert ("hint" in response.json()) == (verb == "delete")

    @pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 502, "applied": True}, {"delay": 2}], ids=str)
    def test_create_whose_outcome_nobody_knows_is_504_with_a_hint(self, program, impatient, fault):
        impatient.fail("create", **fault)

        response = program.post(LIST, json={"display_name": "Perhaps"})

        assert response.status_code == 504
        assert error_of(response)["code"] == "outcome_unknown"
        assert "Look for it before you create it again" in response.json()["hint"]
        assert "Retry-After" not in response.headers
        assert impatient.count("create") == 1

    @pytest.mark.parametrize(
        "fault",
        [
            {"drop": "before"},
            {"drop": "after"},
            {"delay": 2},
            {"status": 502, "applied": True},
            {"status": 504},
            {"status": 200, "body": "<html>"},
        ],
        ids=str,
    )
    def test_delete_whose_outcome_nobody_knows_is_504_with_a_hint(self, program, impatient, row, fault):
        impatient.fail("delete", **fault)

        response = write(program, row, "delete")

        assert response.status_code == 504
        assert "Deleting it again does no harm" in error_of(response)["hint"]
        assert "Retry-After" not in response.headers
        assert impatient.count("delete") == 1

    @pytest.mark.parametrize("verb", ["rename", "refresh", "fetch"])
    @pytest.mark.parametrize("status", [502, 504])
    def test_gateway_that_answers_a_question_is_trouble_of_orq(self, program, remote, row, verb, status):
        remote.fail("retrieve", status=status)

        response = write(program, row, verb)

        assert response.status_code == 503
        assert "hint" not in error_of(response)
        assert (response.json()["code"], response.json()["remote_status"]) == ("server_error", status)

    def test_rename_whose_outcome_nobody_knows_is_504_with_a_hint(self, program, remote, row):
        remote.fail("update", drop="before")
        remote.fail("retrieve", after=1, status=500)

        response = program.patch(page_of(row), json={"display_name": "Perhaps"})

        assert response.status_code == 504
        assert error_of(response)["code"] == "outcome_unknown"
        assert "Renaming again does no harm" in response.json()["hint"]

    @each_verb
    def test_orq_is_asked_once_while_the_caller_waits(self, program, remote, row, verb, settings):
        configure(settings, RETRIES={"attempts": 3, "initial_interval": 0.01})
        remote.fail(times=None, status=500)

        write(program, row, verb)

        assert remote.count() == 1

    def test_slow_orq_is_given_up_after_fifteen_seconds(self, program, remote, row, monkeypatch):
        monkeypatch.setattr("django_orq.service.INTERACTIVE_SECONDS", 0.5)
        remote.fail("retrieve", drip=0.05)

        response = program.post(f"{page_of(row)}refresh/")

        assert response.status_code == 504
        assert response.elapsed < timedelta(seconds=5)


class TestThisSideInTrouble:
    def test_mirror_that_others_keep_changing_is_503(self, program, remote, row, monkeypatch):
        """Patched at the database's side: two writers that collide three times running can't be staged."""

        def contend(*args: Any, **kwargs: Any) -> None:
            raise MirrorContended

        monkeypatch.setattr(verbs, "reconcile", contend)

        response = write(program, row, "refresh")

        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert error_of(response)["code"] == "mirror_contended"

    @pytest.mark.parametrize("verb", ["create", "rename"])
    def test_what_orq_did_and_the_mirror_could_not_follow_is_no_failure(self, program, remote, row, verb, monkeypatch):
        def contend(*args: Any, **kwargs: Any) -> None:
            raise MirrorContended

        monkeypatch.setattr(verbs, "reconcile", contend)

        response = write(program, row, verb)

        assert response.status_code == 202
        assert error_of(response)["code"] == "mirror_behind"
        assert "Do not repeat it" in response.json()["message"]
        assert response.json()["remote_id"] == remote.conversations[0]["_id"]
        assert response.json()["replaced"] is None

    @pytest.mark.parametrize("kind", [OperationalError, InterfaceError, InternalError])
    @pytest.mark.parametrize("accept", ["application/json", "text/html"])
    def test_database_in_trouble_is_503(self, program, monkeypatch, kind, accept):
        """Patched at the database's side: no lock of ours lasts as long as the database waits for one."""

        def fail(*args: Any, **kwargs: Any) -> None:
            raise kind("database is locked")

        monkeypatch.setattr(ConversationViewSet, "get_queryset", fail)

        response = program.get(LIST, headers={"Accept": accept})

        assert response.status_code == 503
        assert error_of(response)["code"] == "database_trouble"
        assert "locked" not in response.text

    @pytest.mark.parametrize("accept", ["application/json", "text/html"])
    def test_database_that_is_gone_before_anybody_is_known_is_503(self, program, monkeypatch, accept):
        """Patched where a user is looked up: the page for people would look once more."""

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OperationalError("connection refused")

        monkeypatch.setattr(BasicAuthentication, "authenticate_credentials", fail)

        response = program.get(LIST, headers={"Accept": accept})

        assert response.status_code == 503
        assert error_of(response)["code"] == "database_trouble"

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
        assert all(response.headers["Retry-After"] for response in responses)

    @pytest.mark.parametrize(
        "workspaces", [{"default": {"API_KEY": ""}}, {"default": {"API_KEY": "sëcret-key"}}, "secret-key"], ids=repr
    )
    def test_missing_configuration_is_500_without_details(self, program, settings, workspaces):
        settings.ORQ_WORKSPACES = workspaces

        response = program.post(LIST, json={"display_name": "New"})

        assert response.status_code == 500
        assert error_of(response)["code"] == "not_configured"
        assert "cret-key" not in response.text
        assert "manage.py check" in response.json()["message"]

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

    def test_broker_out_of_reach_is_503_and_the_run_stays_queued(self, program, broker_out_of_reach):
        response = program.post(RUNS, json={"mode": "full"})

        assert response.status_code == 503
        assert response.headers["Retry-After"] == str(SECONDS_TO_WAIT)
        answer = error_of(response)
        assert answer["code"] == "broker_unreachable"
        assert "the run stays queued" in answer["message"]
        assert (answer["run"]["mode"], answer["run"]["state"]) == ("full", "queued")
        assert SyncRun.objects.get().state == "queued"

    @pytest.mark.parametrize(
        "columns",
        [
            {"state": "running", "lease_until": datetime.now(UTC) + timedelta(hours=1)},
            {"state": "queued", "enqueued_at": datetime.now(UTC) + timedelta(hours=1)},
            {"state": "waiting", "wait": "asked", "resume_at": datetime.now(UTC) + timedelta(hours=1)},
        ],
        ids=lambda columns: columns["state"],
    )
    def test_run_that_is_under_way_is_409_and_shown(self, program, queue, columns):
        run = SyncRun.objects.create(workspace="default", mode="full", slot="default:full", **columns)

        response = program.post(RUNS, json={"mode": "full"})

        assert response.status_code == 409
        answer = error_of(response)
        assert answer["code"] == "sync_run_unfinished"
        assert answer["run"] == program.get(f"{RUNS}{run.pk}/").json()
        assert queue.qsize() == 0

    def test_run_that_has_ended_cannot_be_cancelled(self, program):
        run = SyncRun.objects.create(workspace="default", mode="full", state="failed", finished_at=datetime.now(UTC))

        response = program.post(f"{RUNS}{run.pk}/cancel/")

        assert response.status_code == 409
        assert error_of(response)["code"] == "sync_run_finished"
        assert response.json()["run"]["state"] == "failed"


class TestWhoAsks:
    @pytest.fixture
    def challenging(self, monkeypatch):
        monkeypatch.setattr(WorkspaceViewSet, "authentication_classes", (BasicAuthentication,))

    def test_anonymous_caller_is_challenged_where_an_authenticator_does(self, program, challenging, live_server):
        with Program(f"{live_server.url}/orq") as stranger:
            response = stranger.get(LIST)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")
        assert error_of(response)["code"] == "not_authenticated"

    def test_wrong_password_is_401(self, program, challenging):
        program.auth = ("agent", "wrong")
        response = program.get(LIST)

        assert response.status_code == 401
        assert error_of(response)["code"] == "authentication_failed"

    def test_missing_permission_is_403(self, program, live_server):
        with Program(f"{live_server.url}/orq", user=user_with(name="nobody")) as nobody:
            response = nobody.get(LIST)

        assert response.status_code == 403
        assert error_of(response)["code"] == "permission_denied"


class TestThrottling:
    @pytest.fixture(autouse=True)
    def fresh_cache(self, settings):
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(id(self))}
        }

    def test_writes_are_throttled_where_a_rate_is_configured(self, program, remote, row, settings):
        settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": {"orq-write": "2/hour"}}

        codes = [write(program, row, verb).status_code for verb in ("refresh", "rename")]
        refused = program.post(LIST, json={"display_name": "New"})

        assert codes == [200, 200]
        assert refused.status_code == 429
        assert 3500 < int(refused.headers["Retry-After"]) <= 3600
        assert (error_of(refused)["code"], refused.json()["remote_status"]) == ("throttled", None)
        assert program.get(LIST).status_code == 200
        assert program.post(RUNS, json={}).status_code == 202

    def test_starting_runs_is_throttled_by_a_rate_of_its_own(self, program, queue, settings):
        settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": {"orq-sync": "1/hour"}}

        codes = [program.post(RUNS, json={"mode": mode}).status_code for mode in ("full", "incremental")]

        assert codes == [202, 429]
        assert program.post(f"{RUNS}{SyncRun.objects.get().pk}/cancel/").status_code == 200

    def test_nothing_is_throttled_where_no_rate_is_configured(self, program, row):
        assert {write(program, row, "refresh").status_code for _ in range(5)} == {200}
