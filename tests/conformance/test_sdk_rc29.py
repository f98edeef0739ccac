"""The sandbox behaves as SDK 4.1.0rc29 expects of Orq, in the default dialect."""

import pytest

from .conftest import SdkError
from .names import NAMES

ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
RETRIES = {
    "initial_interval": 1,
    "max_interval": 1,
    "exponent": 1.0,
    "max_elapsed_time": 5_000,
    "retry_connection_errors": True,
}
# This SDK has no field for the metadata of conversations.
UNKNOWN_TO_IT = {"metadata"}


def as_seen(conversation):
    return {key: value for key, value in conversation.items() if key not in UNKNOWN_TO_IT}


@pytest.fixture
def ids(orq_sandbox):
    """25 conversations, newest first."""
    return [orq_sandbox.add(f"Number {n}")["_id"] for n in range(25)][::-1]


def ids_of(page):
    return [item["_id"] for item in page["data"]]


def test_create_returns_the_conversation_field_by_field(sdk_rc29, orq_sandbox):
    created = sdk_rc29.create(display_name="Where is my order?")
    assert created == as_seen(orq_sandbox.get(created["_id"]))
    assert created["displayName"] == "Where is my order?"
    assert orq_sandbox.requests[0].status == 201


def test_list_returns_ten_by_default_field_by_field(sdk_rc29, orq_sandbox, ids):
    page = sdk_rc29.list()
    assert page["data"] == [as_seen(item) for item in orq_sandbox.conversations[:10]]
    assert (page["object"], page["has_more"]) == ("list", True)


@pytest.mark.parametrize("limit", [1, 100])
def test_list_takes_limit_at_its_bounds(sdk_rc29, ids, limit):
    assert ids_of(sdk_rc29.list(limit=limit)) == ids[:limit]


@pytest.mark.parametrize("limit", [0, 101])
def test_list_beyond_its_bounds_is_an_api_error(sdk_rc29, limit):
    with pytest.raises(SdkError) as caught:
        sdk_rc29.list(limit=limit)
    assert (caught.value.type, caught.value.status) == ("APIError", 400)


def test_cursors_page_through_all_both_ways(sdk_rc29, ids):
    down, page = [], sdk_rc29.list(limit=10)
    while down.extend(ids_of(page)) or page["has_more"]:
        page = sdk_rc29.list(limit=10, starting_after=down[-1])
    assert down == ids
    up, page = [ids[-1]], sdk_rc29.list(limit=10, ending_before=ids[-1])
    while up.extend(reversed(ids_of(page))) or page["has_more"]:
        page = sdk_rc29.list(limit=10, ending_before=up[-1])
    assert up == ids[::-1]


def test_retrieve_returns_the_conversation_field_by_field(sdk_rc29, orq_sandbox, ids):
    retrieved = sdk_rc29.retrieve(conversation_id=ids[7])
    assert retrieved == as_seen(orq_sandbox.get(ids[7]))


def test_update_renames(sdk_rc29, orq_sandbox, ids):
    updated = sdk_rc29.update(conversation_id=ids[7], display_name="New")
    assert updated == as_seen(orq_sandbox.get(ids[7]))
    assert updated["displayName"] == "New"


def test_update_without_a_name_leaves_it(sdk_rc29, orq_sandbox, ids):
    before = orq_sandbox.get(ids[7])
    assert sdk_rc29.update(conversation_id=ids[7]) == as_seen(before)
    assert orq_sandbox.get(ids[7]) == before


def test_delete_returns_nothing_and_is_permanent(sdk_rc29, orq_sandbox, ids):
    assert sdk_rc29.delete(conversation_id=ids[7]) is None
    assert orq_sandbox.get(ids[7]) is None
    with pytest.raises(SdkError):
        sdk_rc29.delete(conversation_id=ids[7])


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [("retrieve", {}), ("update", {"display_name": "x"}), ("delete", {})],
)
def test_an_absent_id_raises_the_error_of_its_own_with_the_message(sdk_rc29, operation, arguments):
    with pytest.raises(SdkError) as caught:
        sdk_rc29.call(operation, conversation_id=ABSENT, **arguments)
    assert caught.value.status == 404
    assert caught.value.type.endswith("ResponseBody")
    assert caught.value.message == "Conversation not found"


@pytest.mark.parametrize("name", ["", "n" * 101])
def test_a_name_of_the_wrong_length_is_an_api_error(sdk_rc29, orq_sandbox, name):
    with pytest.raises(SdkError) as caught:
        sdk_rc29.create(display_name=name)
    assert (caught.value.type, caught.value.status) == ("APIError", 400)
    assert len(orq_sandbox) == 0


def test_a_wrong_key_is_an_api_error(sdk_rc29):
    sdk_rc29.api_key = "another"
    with pytest.raises(SdkError) as caught:
        sdk_rc29.list()
    assert (caught.value.type, caught.value.status) == ("APIError", 401)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_retries_repeat_what_is_worth_it(sdk_rc29, orq_sandbox, status):
    orq_sandbox.fail("list", status=status, body="<h1>no</h1>", headers={"Retry-After": "0.01"})
    assert sdk_rc29.list(retries=RETRIES)["data"] == []
    assert orq_sandbox.count("list") == 2


def test_without_retries_an_error_with_html_is_raised_with_its_body(sdk_rc29, orq_sandbox):
    orq_sandbox.fail("list", status=502, body="<h1>Bad</h1>", headers={"Content-Type": "text/html"})
    with pytest.raises(SdkError) as caught:
        sdk_rc29.list()
    assert (caught.value.status, caught.value.body) == (502, "<h1>Bad</h1>")
    assert orq_sandbox.count("list") == 1


def test_300_names_arrive_to_the_letter(sdk_rc29, orq_sandbox):
    assert len(set(NAMES)) == 300
    assert all(1 <= len(name) <= 100 for name in NAMES)
    created = [sdk_rc29.create(display_name=name) for name in NAMES]
    assert [item["displayName"] for item in created] == NAMES
    assert [as_seen(item) for item in orq_sandbox.conversations] == created[::-1]
