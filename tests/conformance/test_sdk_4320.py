"""The sandbox behaves as SDK 4.3.20 expects of Orq, in the “camel” dialect."""

import pytest

from .conftest import SdkError

ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
METADATA = {"generating_title": True, "entity_id": None, "model": "openai/gpt-4o"}
METADATA_ON_THE_WIRE = {"generatingTitle": True, "entityId": None, "model": "openai/gpt-4o"}


@pytest.fixture
def ids(camel_sandbox):
    """25 standalone conversations, newest first."""
    return [camel_sandbox.add(f"Number {n}")["_id"] for n in range(25)][::-1]


def ids_of(page):
    return [item["_id"] for item in page["data"]]


def test_create_returns_the_conversation_field_by_field(sdk_4320, camel_sandbox):
    created = sdk_4320.create(project_id="project", display_name="Name", metadata=METADATA)
    assert created == camel_sandbox.get(created["_id"])
    assert (created["displayName"], created["metadata"]) == ("Name", METADATA_ON_THE_WIRE)


def test_create_without_a_name_is_untitled(sdk_4320, camel_sandbox):
    assert sdk_4320.create(project_id="project")["displayName"] == "Untitled"
    assert camel_sandbox.requests[0].body["projectId"] == "project"


def test_list_returns_ten_by_default_field_by_field(sdk_4320, camel_sandbox, ids):
    page = sdk_4320.list()
    assert page["data"] == camel_sandbox.conversations[:10]
    assert (page["object"], page["has_more"]) == ("list", True)


@pytest.mark.parametrize("limit", [1, 100])
def test_list_takes_limit_at_its_bounds(sdk_4320, ids, limit):
    assert ids_of(sdk_4320.list(limit=limit)) == ids[:limit]


def test_cursors_page_through_all_both_ways(sdk_4320, ids):
    down, page = [], sdk_4320.list(limit=10)
    while down.extend(ids_of(page)) or page["has_more"]:
        page = sdk_4320.list(limit=10, starting_after=down[-1])
    assert down == ids
    up, page = [ids[-1]], sdk_4320.list(limit=10, ending_before=ids[-1])
    while up.extend(reversed(ids_of(page))) or page["has_more"]:
        page = sdk_4320.list(limit=10, ending_before=up[-1])
    assert up == ids[::-1]


def test_list_shows_those_of_an_entity_only_when_asked(sdk_4320, camel_sandbox, ids):
    bound = sdk_4320.create(project_id="p", metadata={"entity_id": "agent"})["_id"]
    assert bound not in ids_of(sdk_4320.list(limit=100))
    assert ids_of(sdk_4320.list(entity_id="agent")) == [bound]


def test_retrieve_returns_the_conversation_with_its_messages(sdk_4320, camel_sandbox, ids):
    retrieved = sdk_4320.retrieve(conversation_id=ids[7])
    (message,) = retrieved.pop("messages")
    assert retrieved == camel_sandbox.get(ids[7])
    assert (message["conversationId"], message["role"]) == (ids[7], "user")


def test_update_changes_only_what_is_given(sdk_4320, camel_sandbox, ids):
    renamed = sdk_4320.update(conversation_id=ids[7], display_name="New")
    assert (renamed["displayName"], renamed["metadata"]) == ("New", {})
    changed = sdk_4320.update(conversation_id=ids[7], metadata={"entity_id": "agent"})
    assert changed == camel_sandbox.get(ids[7])
    assert (changed["displayName"], changed["metadata"]) == ("New", {"entityId": "agent"})


def test_delete_returns_nothing_and_is_permanent(sdk_4320, camel_sandbox, ids):
    assert sdk_4320.delete(conversation_id=ids[7]) is None
    assert camel_sandbox.get(ids[7]) is None


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [("retrieve", {}), ("update", {"display_name": "x"}), ("delete", {})],
)
def test_an_absent_id_raises_the_error_of_its_own_with_the_message(sdk_4320, operation, arguments):
    with pytest.raises(SdkError) as caught:
        sdk_4320.call(operation, conversation_id=ABSENT, **arguments)
    assert caught.value.status == 404
    assert caught.value.type.endswith("ResponseBody")
    assert caught.value.message == "Conversation not found"
