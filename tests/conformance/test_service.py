"""The service and the vendor's SDK 4.1.0rc29 return the same fields for the same calls."""

from datetime import UTC, datetime, timedelta

import pytest

from django_orq.conf import RetryConfig
from django_orq.exceptions import APIError
from django_orq.service import ConversationService

from .conftest import SdkError
from .names import NAMES

ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
SDK_RETRIES = {
    "initial_interval": 1,
    "max_interval": 1,
    "exponent": 1.0,
    "max_elapsed_time": 5_000,
    "retry_connection_errors": True,
}
OUR_RETRIES = RetryConfig(initial_interval=0.001, max_interval=0.001, max_elapsed=5)


@pytest.fixture
def service(orq_sandbox):
    with ConversationService(api_key=orq_sandbox.api_key, base_url=orq_sandbox.base_url) as service:
        yield service


@pytest.fixture
def ids(orq_sandbox):
    """25 conversations with various names, some without authors; newest first."""
    for number, name in enumerate(NAMES[::12]):
        orq_sandbox.add(name, **({"createdById": None, "updatedById": None} if number % 3 else {}))
    return [item["_id"] for item in orq_sandbox.conversations]


def milliseconds(moment):
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)


def as_the_sdk_has_it(conversation):
    """All fields that the SDK has. It drops the others, of which the service keeps `metadata` and `extra`."""
    return {
        "_id": conversation.remote_id,
        "kind": "conversation",
        "displayName": conversation.display_name,
        "createdAt": milliseconds(conversation.created_at),
        "updatedAt": milliseconds(conversation.updated_at),
        "createdById": conversation.created_by_id,
        "updatedById": conversation.updated_by_id,
    }


def filled(dumped):
    """The SDK omits optional fields that are absent."""
    return {"createdById": None, "updatedById": None} | dumped


def assert_same_page(ours, sdks):
    assert not ours.rejected
    assert [as_the_sdk_has_it(one) for one in ours.conversations] == [filled(one) for one in sdks["data"]]
    assert ours.has_more == sdks["has_more"]


def last_two(orq_sandbox):
    """The last request of each of the two, as sent."""
    return [(one.method, one.path, one.query, one.body) for one in orq_sandbox.requests[-2:]]


@pytest.mark.parametrize("limit", [1, 10, 24, 25, 100])
def test_list_with_limit(sdk_rc29, service, orq_sandbox, ids, limit):
    assert_same_page(service.list(limit=limit), sdk_rc29.list(limit=limit))
    ours, sdks = last_two(orq_sandbox)
    assert ours == sdks


def test_list_by_default(sdk_rc29, service, orq_sandbox, ids):
    assert_same_page(service.list(), sdk_rc29.list())


@pytest.mark.parametrize("cursor", ["starting_after", "ending_before"])
@pytest.mark.parametrize("position", [0, 1, 12, 24])
def test_list_with_a_cursor(sdk_rc29, service, orq_sandbox, ids, cursor, position):
    arguments = {"limit": 5, cursor: ids[position]}
    assert_same_page(service.list(**arguments), sdk_rc29.list(**arguments))
    ours, sdks = last_two(orq_sandbox)
    assert ours == sdks


def test_create(sdk_rc29, service, orq_sandbox):
    for name in NAMES[::25]:
        ours, sdks = service.create(display_name=name), sdk_rc29.create(display_name=name)
        assert as_the_sdk_has_it(ours).keys() == filled(sdks).keys()
        assert ours.display_name == sdks["displayName"]
        assert last_two(orq_sandbox)[0] == last_two(orq_sandbox)[1]
        assert as_the_sdk_has_it(ours) == filled(sdk_rc29.retrieve(conversation_id=ours.remote_id))


def test_retrieve(sdk_rc29, service, orq_sandbox, ids):
    for remote_id in ids:
        ours, sdks = service.retrieve(conversation_id=remote_id), sdk_rc29.retrieve(conversation_id=remote_id)
        assert as_the_sdk_has_it(ours) == filled(sdks)
    assert last_two(orq_sandbox)[0] == last_two(orq_sandbox)[1]


def test_update(sdk_rc29, service, orq_sandbox, ids):
    ours = service.update(conversation_id=ids[3], display_name=NAMES[0])
    assert as_the_sdk_has_it(ours) == filled(sdk_rc29.retrieve(conversation_id=ids[3]))
    sdks = sdk_rc29.update(conversation_id=ids[3], display_name=NAMES[1])
    assert filled(sdks) == as_the_sdk_has_it(service.retrieve(conversation_id=ids[3]))
    requests = [one for one in orq_sandbox.requests if one.operation == "update"]
    assert requests[0].path == requests[1].path
    assert [one.body for one in requests] == [{"displayName": NAMES[0]}, {"displayName": NAMES[1]}]


def test_delete(sdk_rc29, service, orq_sandbox, ids):
    assert service.delete(conversation_id=ids[0]) is sdk_rc29.delete(conversation_id=ids[1]) is None
    ours, sdks = last_two(orq_sandbox)
    assert (ours[0], ours[1].rsplit("/", 1)[0]) == (sdks[0], sdks[1].rsplit("/", 1)[0])
    assert_same_page(service.list(limit=100), sdk_rc29.list(limit=100))


CALLS = {
    "list": {},
    "create": {"display_name": "Parcel"},
    "retrieve": {"conversation_id": ABSENT},
    "update": {"conversation_id": ABSENT, "display_name": "Parcel"},
    "delete": {"conversation_id": ABSENT},
}
ANSWERS = [
    (404, {"Content-Type": "application/json"}, '{"message": "Conversation not found"}'),
    (403, {"Content-Type": "text/plain"}, "no, for a reason"),
    (429, {"Content-Type": "text/plain"}, "slower"),
    (500, {"Content-Type": "text/html"}, "<h1>Oops"),
    (503, {"Content-Type": "text/html"}, "<h1>Later"),
]


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_errors_have_the_same_status_and_message(sdk_rc29, service, orq_sandbox, operation, answer):
    status, headers, body = answer
    orq_sandbox.fail(operation, status=status, headers=headers, body=body, times=None)
    with pytest.raises(SdkError) as sdks:
        sdk_rc29.call(operation, **CALLS[operation], retries=SDK_RETRIES | {"max_elapsed_time": 1})
    with pytest.raises(APIError) as ours:
        getattr(service, operation)(**CALLS[operation], retries=RetryConfig(attempts=1))
    assert ours.value.status == sdks.value.status == status
    assert ours.value.body == body
    if status == 404 and "conversation_id" in CALLS[operation]:
        assert ours.value.server_message == sdks.value.message


@pytest.mark.parametrize("operation", ["list", "retrieve", "delete"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_repetitions_reach_the_same_success(sdk_rc29, service, orq_sandbox, ids, operation, status):
    calls = [{} if operation == "list" else {"conversation_id": remote_id} for remote_id in ids[:2]]
    orq_sandbox.clear_requests()
    orq_sandbox.fail(operation, status=status)
    getattr(service, operation)(**calls[0], retries=OUR_RETRIES)
    assert orq_sandbox.count(operation) == 2
    orq_sandbox.fail(operation, status=status)
    sdk_rc29.call(operation, **calls[1], retries=SDK_RETRIES)
    assert orq_sandbox.count(operation) == 4
