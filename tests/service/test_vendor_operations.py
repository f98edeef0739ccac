"""The vendor's five operations, clause by clause: every parameter, and every kind of answer, over a real socket."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_orq.conf import RetryConfig
from django_orq.exceptions import (
    APIError,
    AuthenticationFailed,
    ConversationNotFound,
    OrqError,
    OutcomeUnknown,
    PermissionRefused,
    RateLimited,
    ServerError,
)
from django_orq.payloads import RemoteConversation
from django_orq.service import ConversationService
from django_orq.testing import OrqSandbox

KNOWN = "conv_01jj1hdhn79xas7a01wb3hysdb"
QUICK = RetryConfig(initial_interval=0.01)
TWICE = RetryConfig(attempts=2, initial_interval=0.01)
ONCE = RetryConfig(attempts=1)


@pytest.fixture
def service(orq_sandbox: OrqSandbox) -> Iterator[ConversationService]:
    with ConversationService(api_key="sandbox-key", base_url=orq_sandbox.base_url, retries=QUICK) as service:
        yield service


@pytest.fixture
def ids(orq_sandbox: OrqSandbox) -> list[str]:
    """Twelve conversations, newest first."""
    return [orq_sandbox.add(display_name=f"Order {number}")["_id"] for number in range(12)][::-1]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One way to call an operation. The parameter that the case is about is in its name."""

    name: str
    call: Callable[..., Any]
    repeats: bool
    """Whether 5XX answers are tried again."""


OPERATIONS = {
    "list": Operation(name="list", call=lambda s, **k: s.list(**k), repeats=True),
    "list, limit": Operation(name="list", call=lambda s, **k: s.list(limit=5, **k), repeats=True),
    "list, starting_after": Operation(
        name="list", call=lambda s, **k: s.list(starting_after=KNOWN, **k), repeats=True
    ),
    "list, ending_before": Operation(name="list", call=lambda s, **k: s.list(ending_before=KNOWN, **k), repeats=True),
    "create, display_name": Operation(
        name="create", call=lambda s, **k: s.create(display_name="Parcel", **k), repeats=False
    ),
    "retrieve": Operation(name="retrieve", call=lambda s, **k: s.retrieve(conversation_id=KNOWN, **k), repeats=True),
    "update": Operation(name="update", call=lambda s, **k: s.update(conversation_id=KNOWN, **k), repeats=False),
    "update, display_name": Operation(
        name="update",
        call=lambda s, **k: s.update(conversation_id=KNOWN, display_name="Parcel", **k),
        repeats=False,
    ),
    "delete": Operation(name="delete", call=lambda s, **k: s.delete(conversation_id=KNOWN, **k), repeats=True),
}
WITH_ID = ["retrieve", "update", "update, display_name", "delete"]
WITHOUT_ID = [name for name in OPERATIONS if name not in WITH_ID]
HTML = "<html><h1>Bad gateway</h1>"

each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def raised(operation: Operation, service: ConversationService, **options: Any) -> OrqError:
    with pytest.raises(OrqError) as caught:
        operation.call(service, **options)
    return caught.value


# list: success


def test_list_gives_ten_by_default_newest_first(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    page = service.list()
    assert page.ids == ids[:10]
    assert page.has_more
    [request] = orq_sandbox.requests
    assert (request.method, request.path, request.query) == ("GET", "/v2/conversations", {"limit": "10"})


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (11, 11), (12, 12), (100, 12)])
def test_list_limit_bounds_the_page(service: ConversationService, ids: list[str], limit: int, count: int) -> None:
    page = service.list(limit=limit)
    assert page.ids == ids[:count]
    assert page.has_more is (count < 12)


@pytest.mark.parametrize("limit", [0, 101])
def test_list_limit_out_of_bounds_is_refused(service: ConversationService, limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        service.list(limit=limit)


def test_list_starting_after_gives_older_ones(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    assert service.list(limit=3, starting_after=ids[4]).ids == ids[5:8]
    assert orq_sandbox.requests[0].query == {"limit": "3", "starting_after": ids[4]}


def test_list_starting_after_the_oldest_gives_nothing(service: ConversationService, ids: list[str]) -> None:
    page = service.list(starting_after=ids[-1])
    assert (page.ids, page.has_more) == ([], False)


def test_list_ending_before_gives_newer_ones(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    assert service.list(limit=3, ending_before=ids[4]).ids == ids[1:4]
    assert orq_sandbox.requests[0].query == {"limit": "3", "ending_before": ids[4]}


def test_list_sends_both_cursors_as_they_are(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    service.list(starting_after=ids[9], ending_before=ids[1])
    assert orq_sandbox.requests[0].query == {"limit": "10", "starting_after": ids[9], "ending_before": ids[1]}


def test_list_items_have_every_field(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    payload = orq_sandbox.add(display_name="Parcel", metadata={"model": "x"}, colour="red", createdById=None)
    [conversation] = service.list().conversations
    assert conversation == RemoteConversation(
        remote_id=payload["_id"],
        display_name="Parcel",
        created_at=moment(payload["createdAt"]),
        updated_at=moment(payload["updatedAt"]),
        created_by_id=None,
        updated_by_id=payload["updatedById"],
        metadata={"model": "x"},
        extra={"colour": "red"},
    )


def moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


# create: success


def test_create_gives_the_new_conversation(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    created = service.create(display_name="  „Größe“ – 尺码 😀 <b> ")
    assert created.display_name == "„Größe“ – 尺码 😀 <b>"
    payload = orq_sandbox.get(created.remote_id)
    assert payload is not None
    assert created.created_at == moment(payload["createdAt"])
    [request] = orq_sandbox.requests
    assert (request.method, request.path, request.status) == ("POST", "/v2/conversations", 201)
    assert request.body == {"displayName": "„Größe“ – 尺码 😀 <b>"}


@pytest.mark.parametrize("length", [1, 100])
def test_create_takes_names_of_1_to_100_characters(service: ConversationService, length: int) -> None:
    assert service.create(display_name="ß" * length).display_name == "ß" * length


# retrieve, update, delete: success


def test_retrieve_gives_the_conversation(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    assert service.retrieve(conversation_id=ids[3]) == service.list().conversations[3]
    request = orq_sandbox.requests[0]
    assert (request.method, request.path, request.body) == ("GET", f"/v2/conversations/{ids[3]}", None)


def test_update_changes_the_name(orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]) -> None:
    before = service.retrieve(conversation_id=ids[0])
    updated = service.update(conversation_id=ids[0], display_name="Parcel")
    assert (updated.display_name, updated.created_at) == ("Parcel", before.created_at)
    assert updated.updated_at > before.updated_at
    request = orq_sandbox.requests[1]
    assert (request.method, request.path) == ("PATCH", f"/v2/conversations/{ids[0]}")
    assert request.body == {"displayName": "Parcel"}


def test_update_without_a_name_sends_none_and_changes_none(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    assert service.update(conversation_id=ids[0]).display_name == "Order 11"
    assert orq_sandbox.requests[0].body == {}


def test_delete_gives_nothing_and_is_permanent(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    assert service.delete(conversation_id=ids[0]) is None  # type: ignore[func-returns-value]
    [request] = orq_sandbox.requests
    assert (request.method, request.path, request.status) == ("DELETE", f"/v2/conversations/{ids[0]}", 204)
    with pytest.raises(ConversationNotFound):
        service.retrieve(conversation_id=ids[0])


# 404 JSON


@pytest.mark.parametrize("name", WITH_ID)
def test_404_for_an_id_is_conversation_not_found(
    orq_sandbox: OrqSandbox, service: ConversationService, name: str
) -> None:
    error = raised(OPERATIONS[name], service)
    assert isinstance(error, ConversationNotFound)
    assert (error.status, error.remote_id, error.retryable) == (404, KNOWN, False)
    assert error.server_message
    assert KNOWN in str(error)


@pytest.mark.parametrize("name", WITHOUT_ID)
def test_404_without_an_id_carries_the_servers_message(
    orq_sandbox: OrqSandbox, service: ConversationService, name: str
) -> None:
    orq_sandbox.fail(status=404, body='{"message": "no such thing"}')
    error = raised(OPERATIONS[name], service)
    assert type(error) is APIError
    assert (error.status, error.server_message) == (404, "no such thing")
    assert "no such thing" in str(error)


# 4XX text


@each_operation
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, APIError),
        (401, AuthenticationFailed),
        (403, PermissionRefused),
        (409, APIError),
        (422, APIError),
        (429, RateLimited),
    ],
)
def test_4xx_text_is_an_api_error(
    orq_sandbox: OrqSandbox, service: ConversationService, operation: Operation, status: int, kind: type[APIError]
) -> None:
    orq_sandbox.fail(status=status, body="no, for a reason", headers={"X-Request": "7"})
    error = raised(operation, service)
    assert type(error) is kind
    assert isinstance(error, APIError)
    assert (error.operation, error.status, error.body) == (operation.name, status, "no, for a reason")
    assert (error.headers["X-Request"], error.server_message) == ("7", None)
    assert error.retryable is (status == 429)
    assert orq_sandbox.count() == 1


# 5XX HTML


@each_operation
@pytest.mark.parametrize("status", [500, 501, 503])
def test_5xx_html_is_a_server_error(
    orq_sandbox: OrqSandbox, service: ConversationService, operation: Operation, status: int
) -> None:
    orq_sandbox.fail(status=status, body=HTML, headers={"Content-Type": "text/html"}, times=None)
    error = raised(operation, service)
    assert type(error) is ServerError
    assert isinstance(error, APIError)
    assert (error.operation, error.status, error.body, error.retryable) == (operation.name, status, HTML, True)
    assert orq_sandbox.count() == (3 if operation.repeats and status != 501 else 1)


@each_operation
@pytest.mark.parametrize("status", [502, 504])
def test_5xx_html_of_a_gateway_leaves_a_write_in_doubt(
    orq_sandbox: OrqSandbox, service: ConversationService, operation: Operation, status: int
) -> None:
    orq_sandbox.fail(operation.name, status=status, body=HTML, times=None)
    error = raised(operation, service)
    assert type(error) is (ServerError if operation.repeats else OutcomeUnknown)
    assert orq_sandbox.count(operation.name) == (3 if operation.repeats else 1)


# retries per call


@each_operation
def test_retries_of_a_call_override_the_default(
    orq_sandbox: OrqSandbox, service: ConversationService, operation: Operation
) -> None:
    orq_sandbox.fail(status=503, body=HTML, times=None)
    for retries, attempts in ((ONCE, 1), (TWICE, 2), (None, 3)):
        orq_sandbox.clear_requests()
        raised(operation, service, retries=retries)
        assert orq_sandbox.count() == (attempts if operation.repeats else 1)


@each_operation
def test_retries_end_with_the_first_success(
    orq_sandbox: OrqSandbox, service: ConversationService, operation: Operation
) -> None:
    orq_sandbox.add(_id=KNOWN)
    if operation.repeats:
        orq_sandbox.fail(status=503)
    operation.call(service, retries=TWICE)
    assert orq_sandbox.count() == (2 if operation.repeats else 1)


def test_retries_of_iterate_serve_each_page(
    orq_sandbox: OrqSandbox, service: ConversationService, ids: list[str]
) -> None:
    orq_sandbox.fail("list", status=503)
    orq_sandbox.fail("list", status=503, after=1)
    assert [page.ids for page in service.iterate(limit=6, retries=TWICE)] == [ids[:6], ids[6:]]
    assert orq_sandbox.count("list") == 4
