"""The exceptions: each can be pickled, has its own code, and its message can be composed from what is stored."""

import json
import pickle
from datetime import UTC, datetime

import pytest

from django_orq.exceptions import (
    PROBLEMS,
    APIError,
    AuthenticationFailed,
    ConversationChanged,
    ConversationNotFound,
    CursorIgnored,
    InvalidName,
    MalformedResponse,
    MirrorBehind,
    MirrorContended,
    MustWait,
    OrqError,
    OutcomeUnknown,
    PermissionRefused,
    Problem,
    RateLimited,
    ServerError,
    TransportError,
    WorkspaceDoubted,
    explain,
)

from .markdown import code, rows

ID = "conv_01jj1hdhn79xas7a01wb3hysdb"
ANSWER = {"operation": "list", "headers": {"Retry-After": "7"}, "body": "<p>", "server_message": "no {such} thing"}
ERRORS: list[OrqError] = [
    OrqError(),
    APIError(status=418, **ANSWER),
    AuthenticationFailed(status=401, **ANSWER),
    PermissionRefused(status=403, **ANSWER),
    ConversationNotFound(remote_id=ID, status=404, **ANSWER),
    RateLimited(status=429, retry_after=7.0, **ANSWER),
    ServerError(status=503, **ANSWER),
    TransportError(operation="list", reason="the connection was refused", sent=False),
    MalformedResponse(operation="list", reason="it is not JSON", status=200),
    CursorIgnored(operation="list", api_style="snake", status=200),
    Problem("internal_error", error="DataError"),
    Problem("not_configured", problem="No Orq workspace is configured."),
    Problem("row_deleted"),
    Problem("row_refused", reason="value too long"),
    InvalidName(reason="A conversation needs a name."),
    ConversationChanged(
        remote_id=ID, display_name="{Parcel}", updated_at=datetime(2026, 1, 1, tzinfo=UTC), updated_by_id=None
    ),
    OutcomeUnknown(operation="create", reason="the request timed out", retry_after=3.0),
    MirrorBehind(operation="create", remote_id="conv_01jj1hdhn79xas7a01wb3hysdb"),
    MirrorContended(),
    MustWait(operation="list", time="12:00:00", retry_after=7.0),
    Problem("database_trouble", error="OperationalError"),
    Problem("pace_kept", seconds=7.0),
    Problem("workers_crashed", crashes=5),
    WorkspaceDoubted(asked=3),
]

each_error = pytest.mark.parametrize("error", ERRORS, ids=[error.code for error in ERRORS])


def family(kind: type[OrqError]) -> set[type[OrqError]]:
    return {kind}.union(*map(family, kind.__subclasses__()))


def test_every_error_is_tested_here() -> None:
    ours = {kind for kind in family(OrqError) if kind.__module__ == OrqError.__module__}
    assert ours == {type(error) for error in ERRORS}


@each_error
def test_error_pickles(error: OrqError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


@pytest.mark.parametrize("error", ERRORS[1:], ids=[error.code for error in ERRORS[1:]])
def test_explain_says_what_the_error_said(error: OrqError) -> None:
    stored = json.loads(json.dumps(error.params, default=str))
    assert explain(error.code, stored) == str(error) == error.message


@each_error
def test_what_is_stored_holds_neither_headers_nor_body(error: OrqError) -> None:
    assert not error.params.keys() & {"headers", "body"}


def test_codes_are_unique_and_every_problem_is_tested_here() -> None:
    codes = [error.code for error in ERRORS]
    assert len(set(codes)) == len(codes)
    assert set(PROBLEMS) == {error.code for error in ERRORS if type(error) is Problem}


@pytest.mark.parametrize("code", ["api_error", "of_another_version", "invalid_name", "workers_crashed"])
def test_explain_of_what_another_version_stored_names_the_code(code: str) -> None:
    assert explain(code, {"other": 1}).endswith(f"({code})")


@pytest.mark.parametrize(("status", "leaves_doubt"), [(500, False), (503, False), (504, True), (524, True)])
def test_gateways_leave_a_creation_in_doubt(status: int, leaves_doubt: bool) -> None:
    assert ServerError(operation="create", status=status, headers={}).leaves_doubt is leaves_doubt


def test_tree() -> None:
    assert {kind.__name__ for kind in family(APIError)} == {
        "APIError",
        "AuthenticationFailed",
        "PermissionRefused",
        "ConversationNotFound",
        "MustWait",
        "RateLimited",
        "ServerError",
    }


def test_what_the_next_conversation_would_meet_too() -> None:
    assert {error.code for error in ERRORS if error.concerns_all} == {
        "authentication_failed",
        "not_configured",
        "permission_refused",
        "transport_error",
    }


def test_page_lists_each_error_with_its_code_and_whether_it_is_retryable():
    listed = {code(row["code"]): (code(row["class"]), row["retryable"] == "yes") for row in rows("errors.md", "Codes")}

    assert listed == {error.code: (type(error).__name__, error.retryable) for error in ERRORS}
