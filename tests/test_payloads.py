"""Parsing of remote JSON: both dialects, and every reason to reject it."""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from django_orq.exceptions import InvalidName
from django_orq.payloads import (
    MAX_DEPTH,
    Page,
    Rejected,
    RejectedItem,
    RemoteConversation,
    clean_display_name,
    is_remote_id,
    parse_conversation,
    parse_page,
)

ID = "conv_01jj1hdhn79xas7a01wb3hysdb"
OLDER = "conv_01jj1hdhn79xas7a01wb3hysda"
CAMEL = {
    "_id": ID,
    "kind": "conversation",
    "displayName": "Where is my order?",
    "createdAt": 1_700_000_000_123,
    "updatedAt": 1_700_000_000_456,
    "createdById": "user-1",
    "updatedById": "agent-2",
    "metadata": {"generatingTitle": False, "entityId": None, "model": "gpt"},
}
SNAKE = {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in CAMEL.items()}
PARSED = RemoteConversation(
    remote_id=ID,
    display_name="Where is my order?",
    created_at=datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC),
    updated_at=datetime(2023, 11, 14, 22, 13, 20, 456_000, tzinfo=UTC),
    created_by_id="user-1",
    updated_by_id="agent-2",
    metadata={"generatingTitle": False, "entityId": None, "model": "gpt"},
    extra={},
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=4),
    max_leaves=20,
)


# Conversations


@pytest.mark.parametrize("payload", [CAMEL, SNAKE], ids=["camelCase", "snake_case"])
def test_objects_of_both_spellings_give_the_same(payload: dict[str, Any]) -> None:
    assert parse_conversation(payload) == PARSED


@pytest.mark.parametrize(
    "field",
    [{"entity_id": "e-1"}, {"entityId": "e-1"}, {"messages": [{"role": "user"}]}, {"": None}, {"projectId": 5}],
)
def test_unknown_fields_are_kept_untouched(field: dict[str, Any]) -> None:
    assert parse_conversation(CAMEL | field).extra == field


def test_field_given_in_both_spellings_keeps_the_second_as_extra() -> None:
    parsed = parse_conversation(CAMEL | {"display_name": "other"})
    assert (parsed.display_name, parsed.extra) == ("Where is my order?", {"display_name": "other"})


@pytest.mark.parametrize("name", ["kind", "createdById", "updatedById", "metadata"])
def test_optional_field_may_be_absent_or_null(name: str) -> None:
    without = {key: value for key, value in CAMEL.items() if key != name}
    assert parse_conversation(without).remote_id == ID
    if name != "kind":
        assert parse_conversation(without) == parse_conversation(CAMEL | {name: None})


def test_payload_itself_is_not_changed() -> None:
    payload = json.loads(json.dumps(CAMEL))
    parse_conversation(payload)
    assert payload == CAMEL


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_700_000_000_123.0, datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
        (1_700_000_000_123.4, datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
        (253_402_128_000_000, datetime(9999, 12, 30, tzinfo=UTC)),
    ],
)
def test_times_are_whole_milliseconds_in_utc(milliseconds: float, expected: datetime) -> None:
    assert parse_conversation(CAMEL | {"createdAt": milliseconds}).created_at == expected


@pytest.mark.parametrize("milliseconds", [-1, 253_402_128_000_001, 1e300, 10**399, "1700000000000", None, True, [1]])
@pytest.mark.parametrize("name", ["createdAt", "updatedAt"])
def test_time_that_is_none_is_refused(name: str, milliseconds: Any) -> None:
    with pytest.raises(Rejected, match=name):
        parse_conversation(CAMEL | {name: milliseconds})


@pytest.mark.parametrize(
    "remote_id",
    [
        None,
        "",
        5,
        ID.upper(),
        ID + "0",
        ID[:-1],
        ID + "\n",
        " " + ID,
        "conv_" + "i" * 26,
        "conv_" + "٣" * 26,
        "task_" + ID[5:],
    ],
)
def test_id_that_is_not_conv_and_a_ulid_is_refused(remote_id: Any) -> None:
    with pytest.raises(Rejected, match="_id"):
        parse_conversation(CAMEL | {"_id": remote_id})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "thread"}, "kind"),
        ({"kind": None}, "kind"),
        ({"displayName": None}, "displayName"),
        ({"displayName": 5}, "displayName"),
        ({"createdById": 5}, "createdById"),
        ({"updatedById": {}}, "updatedById"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"displayName": "NUL \0"}, "NUL"),
        ({"displayName": "half \ud800 a pair"}, "surrogate"),
        ({"extra": {"deep": ["\0"]}}, "NUL"),
        ({"extra": {"a\0": 1}}, "NUL"),
        ({"a\udfff": 1}, "surrogate"),
        ({"extra": [math.nan]}, "number"),
        ({"createdAt": math.nan}, "number"),
        ({"updatedAt": math.inf}, "number"),
        ({"extra": -(10**400)}, "number"),
        ({"metadata": {"x": -math.inf}}, "number"),
    ],
    ids=str,
)
def test_what_can_not_be_mirrored_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        parse_conversation(CAMEL | change)


def test_nesting_is_bounded() -> None:
    def nested(levels: int) -> Any:
        return [nested(levels - 1)] if levels else 1

    assert parse_conversation(CAMEL | {"extra": nested(MAX_DEPTH - 1)})
    with pytest.raises(Rejected, match="nested"):
        parse_conversation(CAMEL | {"extra": nested(MAX_DEPTH)})


@given(json_values)
def test_parsing_anything_gives_a_value_or_a_refusal(payload: Any) -> None:
    for parse in (parse_conversation, parse_page):
        try:
            parse(payload)
        except Rejected as refusal:
            assert str(refusal)  # noqa: PT017  # both ways are right here


@given(st.fixed_dictionaries({}, optional={name: json_values | st.just(value) for name, value in CAMEL.items()}))
def test_parsing_any_field_values_gives_a_value_or_a_refusal(payload: dict[str, Any]) -> None:
    page = parse_page({"data": [payload], "has_more": False})
    assert len(page.items) == 1
    json.dumps([entry.excerpt for entry in page.rejected], allow_nan=False).encode()


@given(st.dictionaries(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")), st.integers()))
def test_extra_fields_survive(extra: dict[str, int]) -> None:
    extra = {name: value for name, value in extra.items() if name not in CAMEL and name not in SNAKE}
    assert parse_conversation(CAMEL | extra).extra == extra


# Pages


def test_page_keeps_the_servers_order() -> None:
    page = parse_page({"object": "list", "data": [CAMEL, CAMEL | {"_id": OLDER}], "has_more": True})
    assert page.ids == [ID, OLDER]
    assert page.cursor == OLDER
    assert page.has_more


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"data": []}, {"has_more": False}, {"data": None, "has_more": False}, {"data": [], "has_more": 0}],
)
def test_page_of_another_shape_is_refused(body: Any) -> None:
    with pytest.raises(Rejected):
        parse_page(body)


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, {"_id": 5}, CAMEL | {"displayName": "\0"}], ids=str)
def test_bad_item_spoils_itself_only(junk: Any) -> None:
    page = parse_page({"data": [CAMEL, junk, CAMEL | {"_id": OLDER}], "has_more": False})
    assert [one.remote_id for one in page.conversations] == [ID, OLDER]
    assert len(page.rejected) == 1


def test_refused_item_with_a_good_id_counts_for_the_cursor() -> None:
    page = parse_page({"data": [CAMEL, {"_id": OLDER}, {"_id": "strange"}], "has_more": True})
    assert page.ids == [ID, OLDER]
    assert page.cursor == OLDER


def test_empty_page_has_no_cursor() -> None:
    assert Page(items=(), has_more=False).cursor is None


def test_refused_item_is_described() -> None:
    [entry] = parse_page({"data": [{"_id": ID, "displayName": "ü\0" * 2_000}], "has_more": False}).rejected
    assert isinstance(entry, RejectedItem)
    assert (entry.remote_id, len(entry.digest), len(entry.excerpt)) == (ID, 64, 2_000)
    assert entry.excerpt.isascii()
    assert "\0" not in entry.excerpt


def test_refused_item_is_known_by_its_id_or_else_by_its_digest() -> None:
    known, nameless = parse_page({"data": [{"_id": ID}, {"_id": "strange"}], "has_more": False}).rejected
    assert (known.key, nameless.key) == (ID, nameless.digest)


def test_item_nested_too_deeply_to_be_shown_is_refused_all_the_same() -> None:
    item: Any = 1
    for _ in range(100_000):
        item = [item]
    [entry] = parse_page({"data": [{"_id": ID, "extra": item}], "has_more": False}).rejected
    assert (entry.remote_id, "nested" in entry.reason, "nested" in entry.excerpt) == (ID, True, True)


def test_digest_is_the_same_whatever_the_order_of_fields() -> None:
    pages = [parse_page({"data": [item], "has_more": False}) for item in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    assert pages[0].rejected[0].digest == pages[1].rejected[0].digest


# Names


@pytest.mark.parametrize(
    ("given_name", "name"),
    [("  Parcel\n", "Parcel"), ("x" * 100, "x" * 100), ("😀" * 100, "😀" * 100), ("שלום", "שלום")],
)
def test_name_is_trimmed(given_name: str, name: str) -> None:
    assert clean_display_name(given_name) == name


@pytest.mark.parametrize(
    ("given_name", "reason"),
    [
        ("", "needs a name"),
        (" \t\n", "needs a name"),
        ("\u200b", "needs a name"),
        ("\ufeff\u00ad", "needs a name"),
        ("\u2028", "needs a name"),
        ("x" * 101, "at most 100"),
        ("a\tb", "control"),
        ("a\x7fb", "control"),
        ("a\0b", "control"),
        ("a\ud800b", "control"),
        (5, "must be a string"),
        (None, "must be a string"),
        (b"Refund", "must be a string"),
    ],
)
def test_name_that_orq_would_refuse_is_refused_with_its_reason(given_name: Any, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        clean_display_name(given_name)


@pytest.mark.parametrize(("text", "verdict"), [(ID, True), ("conv_x", False), (None, False), (b"conv_", False)])
def test_remote_id_is_recognised(text: object, verdict: bool) -> None:  # a table's column
    assert is_remote_id(text) is verdict
