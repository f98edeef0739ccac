"""The sandbox keeps the remote API's protocol, and breaks it exactly as it is told."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from itertools import pairwise
from urllib.parse import urlencode

import pytest

from django_orq.testing import OrqSandbox, make_conversation
from django_orq.testing.__main__ import main

ID = re.compile(r"conv_[0-7][0-9a-hjkmnp-tv-z]{25}")
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
KEYS = {
    *("_id", "kind", "displayName", "createdAt", "updatedAt"),
    *("createdById", "updatedById", "metadata"),
}
ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
PATH = "/v2/conversations"


class Client:
    """One keep-alive connection to a sandbox."""

    def __init__(self, sandbox, *, key=None, path=PATH):
        self.connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
        self.headers = {"Authorization": f"Bearer {key or sandbox.api_key}"}
        self.path = path
        self.response = None

    def send(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, self.headers if headers is None else headers)
        self.response = self.connection.getresponse()
        return self.response.status, self.response.read()

    def json(self, method, path, value=None):
        status, body = self.send(method, path, None if value is None else json.dumps(value))
        return status, json.loads(body) if body else None

    def list(self, **query):
        return self.json("GET", f"{self.path}?{urlencode(query)}")

    def ids(self, **query):
        return [item["_id"] for item in self.list(**query)[1]["data"]]

    def create(self, name):
        return self.json("POST", PATH, {"displayName": name})

    def retrieve(self, remote_id):
        return self.json("GET", f"{PATH}/{remote_id}")

    def update(self, remote_id, **fields):
        return self.json("PATCH", f"{PATH}/{remote_id}", fields)

    def delete(self, remote_id):
        return self.json("DELETE", f"{PATH}/{remote_id}")


@contextlib.contextmanager
def connected(sandbox, **options):
    with contextlib.closing(Client(sandbox, **options).connection) as connection:
        client = Client(sandbox, **options)
        client.connection = connection
        yield client


@pytest.fixture
def client(orq_sandbox):
    with connected(orq_sandbox) as client:
        yield client


@pytest.fixture
def seeded():
    with OrqSandbox(conversations=250) as sandbox:
        yield sandbox


@pytest.fixture
def reader(seeded):
    with connected(seeded) as client:
        yield client


@pytest.fixture
def camel():
    with OrqSandbox(style="camel") as sandbox:
        yield sandbox


@pytest.fixture
def camel_client(camel):
    with connected(camel, path=f"{PATH}/") as client:
        yield client


def ids_of(sandbox):
    return [conversation["_id"] for conversation in sandbox.conversations]


def wait_for_a_request(sandbox):
    deadline = time.monotonic() + 5
    while not sandbox.requests and time.monotonic() < deadline:
        time.sleep(0.005)


def milliseconds_of(remote_id):
    value = 0
    for character in remote_id[5:15]:
        value = value * 32 + ALPHABET.index(character)
    return value


# The five operations


def test_list_gives_the_newest_ten_unless_told_otherwise(seeded, reader):
    status, answer = reader.list()
    assert status == 200
    assert answer == {"object": "list", "data": seeded.conversations[:10], "has_more": True}
    assert reader.response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("limit", [1, 99, 100])
def test_list_gives_as_many_as_limit_says(reader, limit):
    assert len(reader.ids(limit=limit)) == limit


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", "1.5", "¹"])
def test_limit_outside_1_to_100_is_refused(reader, limit):
    status, answer = reader.list(limit=limit)
    assert status == 400
    assert answer["message"]


def test_starting_after_walks_to_the_end_and_has_more_is_exact(seeded, reader):
    seen, cursor, more = [], {}, True
    while more:
        _, page = reader.list(limit=50, **cursor)
        seen += [item["_id"] for item in page["data"]]
        cursor, more = {"starting_after": seen[-1]}, page["has_more"]
    assert seen == ids_of(seeded)
    assert seeded.count("list") == 5
    assert reader.list(starting_after=seen[-1])[1] == {
        "object": "list",
        "data": [],
        "has_more": False,
    }


def test_ending_before_gives_the_page_just_before_newest_first(seeded, reader):
    ids = ids_of(seeded)
    _, page = reader.list(limit=3, ending_before=ids[10])
    assert [item["_id"] for item in page["data"]] == ids[7:10]
    assert page["has_more"] is True
    _, page = reader.list(limit=3, ending_before=ids[3])
    assert [item["_id"] for item in page["data"]] == ids[:3]
    assert page["has_more"] is False


def test_create_answers_201_with_the_whole_conversation(orq_sandbox, client):
    before = time.time_ns() // 1_000_000
    status, created = client.create("Where is my order? 🙂")
    assert status == 201
    assert set(created) == KEYS
    assert created["displayName"] == "Where is my order? 🙂"
    assert created["kind"] == "conversation"
    assert before <= created["createdAt"] == created["updatedAt"] <= time.time_ns() // 1_000_000
    assert orq_sandbox.get(created["_id"]) == created
    assert client.ids() == [created["_id"]]


@pytest.mark.parametrize("name", ["", "n" * 101, None, 7])
def test_a_name_that_is_not_1_to_100_characters_is_refused(orq_sandbox, client, name):
    mine = orq_sandbox.add("Old name")
    assert client.create(name)[0] == 400
    assert client.update(mine["_id"], displayName=name)[0] == 400
    assert orq_sandbox.conversations == [mine]


def test_create_without_a_name_is_refused(client):
    assert client.json("POST", PATH, {})[0] == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(orq_sandbox, client, body):
    mine = orq_sandbox.add("Name")
    for method, path in (("POST", PATH), ("PATCH", f"{PATH}/{mine['_id']}")):
        status, answer = client.send(method, path, body)
        assert status == 400
        assert json.loads(answer)["message"]


def test_retrieve_gives_the_same_conversation_as_the_list(reader):
    for item in reader.list(limit=100)[1]["data"]:
        assert reader.retrieve(item["_id"]) == (200, item)


def test_update_renames_and_moves_updated_at(orq_sandbox, client):
    mine = orq_sandbox.add("Old")
    status, renamed = client.update(mine["_id"], displayName="New")
    assert status == 200
    assert renamed == mine | {"displayName": "New", "updatedAt": renamed["updatedAt"]}
    assert renamed["updatedAt"] > mine["updatedAt"]
    assert client.retrieve(mine["_id"])[1] == renamed


def test_update_without_a_field_leaves_all_as_it_is(orq_sandbox, client):
    mine = orq_sandbox.add("Name")
    assert client.update(mine["_id"]) == (200, mine)
    assert orq_sandbox.get(mine["_id"]) == mine


def test_delete_is_permanent_and_its_answer_has_no_body(orq_sandbox, client):
    mine = orq_sandbox.add("Name")
    assert client.delete(mine["_id"]) == (204, None)
    assert "Content-Length" not in client.response.headers
    assert client.retrieve(mine["_id"])[0] == 404
    assert client.ids() == []


def test_an_unknown_id_is_404_with_a_message(client):
    for status, answer in (
        client.retrieve(ABSENT),
        client.update(ABSENT, displayName="x"),
        client.delete(ABSENT),
        client.retrieve("garbage"),
    ):
        assert status == 404
        assert list(answer) == ["message"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_a_missing_or_wrong_key_is_401(client, headers):
    status, body = client.send("GET", PATH, headers=headers)
    assert status == 401
    assert json.loads(body)["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", f"{PATH}/"),
        ("GET", f"{PATH}/{ABSENT}/messages"),
        ("PUT", PATH),
        ("POST", f"{PATH}/{ABSENT}"),
    ],
)
def test_an_unknown_route_is_404(orq_sandbox, client, method, path):
    assert client.send(method, path)[0] == 404
    assert orq_sandbox.requests[0].operation is None


def test_one_connection_serves_many_requests_unless_asked_to_close(client):
    client.list()
    sock = client.connection.sock
    client.list()
    assert client.connection.sock is sock
    client.send("GET", PATH, headers={**client.headers, "Connection": "close"})
    assert sock.recv(1) == b""


@pytest.mark.parametrize("octets", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nTransfer-Encoding: x"])
def test_what_is_no_request_is_400_and_the_connection_closes(orq_sandbox, octets):
    with socket.create_connection(("127.0.0.1", orq_sandbox.port), timeout=5) as sock:
        sock.sendall(octets + b"\r\n\r\n")
        assert b"".join(iter(lambda: sock.recv(4096), b"")).startswith(b"HTTP/1.1 400 ")


# The conversations


def test_seeded_conversations_are_believable(seeded):
    conversations = seeded.conversations
    now = time.time() * 1000
    assert len(seeded) == len(conversations) == 250
    for item in conversations:
        assert set(item) == KEYS
        assert ID.fullmatch(item["_id"])
        assert 1 <= len(item["displayName"]) <= 100
        assert milliseconds_of(item["_id"]) == item["createdAt"] <= item["updatedAt"] <= now
    assert now - conversations[0]["createdAt"] < 120_000
    assert now - conversations[-1]["createdAt"] > 90 * 86_400_000
    text = "".join(item["displayName"] for item in conversations)
    for script in ("[a-z]", "[а-я]", "[α-ω]", "[ء-ي]", "[अ-ह]", "[ぁ-ん]", "[一-龥]", "[가-힣]"):
        assert re.search(script, text)
    assert any(item["metadata"].get("entityId") for item in conversations)
    assert any("model" in item["metadata"] for item in conversations)
    assert any(item["metadata"] == {} for item in conversations)


def test_the_same_seed_gives_the_same_conversations():
    def of(seed):
        return OrqSandbox(conversations=20, seed=seed, newest_at=1_750_000_000_000).conversations

    assert of(5) == of(5) != of(6)


def test_ids_strictly_increase_within_one_millisecond_too(seeded):
    newest = seeded.conversations[0]["_id"]
    ids = [newest, *(seeded.add(f"Number {n}")["_id"] for n in range(500))]
    assert all(older < newer for older, newer in pairwise(ids))
    assert len({milliseconds_of(remote_id) for remote_id in ids}) < 500


def test_updated_at_strictly_increases_with_each_rename(orq_sandbox):
    mine = orq_sandbox.add("Name")
    times = [orq_sandbox.rename(mine["_id"], f"Name {n}")["updatedAt"] for n in range(50)]
    assert all(older < newer for older, newer in pairwise([mine["updatedAt"], *times]))


def test_somebody_elses_changes_show_at_once(seeded, reader):
    first, second, *_ = ids_of(seeded)
    added = seeded.add("Brand new", metadata={"model": "m"}, shape="odd")
    seeded.rename(first, "Renamed")
    seeded.remove(second)
    data = reader.list(limit=2)[1]["data"]
    assert data[0] == added
    assert added["shape"] == "odd"
    assert data[1]["displayName"] == "Renamed"
    assert len(seeded) == 250
    assert second not in ids_of(seeded)
    assert seeded.get(second) is None


def test_a_conversation_with_an_id_of_its_own_takes_its_place_in_the_order(seeded):
    ids = ids_of(seeded)
    between = ids[100][:-1] + ("0" if ids[100][-1] != "0" else "1")
    seeded.add("Between", _id=between)
    assert ids_of(seeded) == sorted([*ids, between], reverse=True)
    seeded.remove(between)
    seeded.remove(ids[3])
    seeded.add("Back again", _id=ids[3])
    assert ids_of(seeded) == ids
    seeded.add("Once more", _id=ids[3])
    assert seeded.get(ids[3])["displayName"] == "Once more"
    assert len(seeded) == 250


def test_changing_what_is_not_there_is_a_key_error(orq_sandbox):
    for change in (lambda: orq_sandbox.rename(ABSENT, "x"), lambda: orq_sandbox.remove(ABSENT)):
        with pytest.raises(KeyError):
            change()


def test_what_one_gets_is_a_copy(orq_sandbox):
    mine = orq_sandbox.add("Name")
    orq_sandbox.conversations[0]["metadata"]["x"] = 1
    orq_sandbox.get(mine["_id"])["displayName"] = "Other"
    assert orq_sandbox.get(mine["_id"]) == mine


def test_text_that_utf_8_cannot_hold_travels_as_an_escape(orq_sandbox, client):
    orq_sandbox.add("broken \ud800 \0")
    assert client.list()[1]["data"][0]["displayName"] == "broken \ud800 \0"


def test_many_threads_at_once_lose_nothing(orq_sandbox):
    def create():
        with connected(orq_sandbox) as client:
            for n in range(20):
                client.create(f"Number {n}")

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(orq_sandbox) == len(set(ids_of(orq_sandbox))) == 160
    assert orq_sandbox.count("create") == 160


def test_a_million_conversations_start_at_once_and_page_fast_at_any_depth():
    started = time.perf_counter()
    with OrqSandbox(conversations=1_000_000) as sandbox, connected(sandbox) as client:
        assert len(sandbox) == 1_000_000
        middle = sandbox._store._seeded.id_at(500_000)
        assert len(client.ids(limit=100, starting_after=middle)) == 100
        assert time.perf_counter() - started < 2


def test_make_conversation_is_believable_and_takes_overrides():
    first, second = make_conversation(), make_conversation(displayName="Mine", extra=1)
    assert set(first) == KEYS
    assert ID.fullmatch(first["_id"])
    assert milliseconds_of(first["_id"]) == first["createdAt"]
    assert first["_id"] < second["_id"]
    assert (second["displayName"], second["extra"]) == ("Mine", 1)


# The last dialect


def test_camel_lists_with_a_slash_and_snake_without(camel, camel_client):
    camel.add("Name")
    assert camel_client.list()[0] == 200
    assert camel_client.send("GET", PATH)[0] == 404
    assert camel_client.send("POST", f"{PATH}/", b"{}")[0] == 404


def test_camel_cursors_have_camel_names_and_others_are_ignored(camel, camel_client):
    ids = [camel.add(f"Number {n}")["_id"] for n in range(5)][::-1]
    assert camel_client.ids(limit=2, startingAfter=ids[1]) == ids[2:4]
    assert camel_client.ids(limit=2, endingBefore=ids[2]) == ids[:2]
    assert camel_client.ids(limit=2, starting_after=ids[1]) == ids[:2]


def test_camel_lists_only_standalone_conversations_unless_an_entity_is_named(camel, camel_client):
    alone = camel.add("Alone", metadata={"entityId": None})["_id"]
    bound = camel.add("Bound", metadata={"entityId": "agent_1"})["_id"]
    assert camel_client.ids() == [alone]
    assert camel_client.ids(entityId="agent_1") == [bound]
    assert camel_client.retrieve(bound)[0] == 200


def test_camel_create_wants_a_project_and_no_name(camel_client):
    assert camel_client.create("Name")[0] == 400
    status, created = camel_client.json("POST", PATH, {"projectId": "p"})
    assert (status, created["displayName"]) == (201, "Untitled")
    body = {"projectId": "p", "displayName": "Name", "metadata": {"model": "m"}}
    status, created = camel_client.json("POST", PATH, body)
    assert (created["displayName"], created["metadata"]) == ("Name", {"model": "m"})


def test_camel_update_changes_only_the_metadata_given(camel, camel_client):
    mine = camel.add("Name", metadata={"model": "m", "entityId": "a"})
    _, changed = camel_client.update(mine["_id"], metadata={"entityId": None})
    assert changed["metadata"] == {"model": "m", "entityId": None}
    assert changed["updatedAt"] > mine["updatedAt"]


def test_camel_retrieve_carries_messages_and_the_list_does_not(camel, camel_client):
    mine = camel.add("Name")
    status, retrieved = camel_client.retrieve(mine["_id"])
    assert status == 200
    assert retrieved.pop("messages")[0]["conversationId"] == mine["_id"]
    assert retrieved == mine == camel_client.list()[1]["data"][0]


# What tests see


def test_settings_are_a_value_for_orq_workspaces(orq_sandbox, camel):
    assert orq_sandbox.settings() == {"default": {"API_KEY": "sandbox-key", "BASE_URL": orq_sandbox.base_url}}
    assert camel.settings()["default"]["API_STYLE"] == "camel"


def test_requests_are_recorded_with_all_that_came(orq_sandbox, client):
    client.create("Name")
    client.list(limit=5)
    client.send("POST", PATH, b"{", {})
    created, listed, refused = orq_sandbox.requests
    assert (created.operation, created.method, created.path) == ("create", "POST", PATH)
    assert (created.body, created.status) == ({"displayName": "Name"}, 201)
    assert created.headers["authorization"] == "Bearer sandbox-key"
    assert "sandbox-key" not in repr(created)
    assert (listed.operation, listed.query, listed.body) == ("list", {"limit": "5"}, None)
    assert (refused.status, refused.body) == (401, b"{")
    assert (orq_sandbox.count(), orq_sandbox.count("list")) == (3, 1)
    orq_sandbox.clear_requests()
    assert (orq_sandbox.requests, orq_sandbox.count()) == ([], 0)


# Switches


def test_a_new_key_replaces_the_old_one(orq_sandbox, client):
    orq_sandbox.api_key = "new"
    assert client.list()[0] == 401
    with connected(orq_sandbox) as other:
        assert other.list()[0] == 200
    assert "new" not in repr(orq_sandbox)


def test_latency_delays_every_answer(orq_sandbox, client):
    orq_sandbox.latency = 0.1
    started = time.monotonic()
    client.list()
    assert time.monotonic() - started >= 0.1


def test_ignore_cursor_answers_page_one_for_ever(seeded, reader):
    seeded.ignore_cursor = True
    ids = ids_of(seeded)
    assert reader.ids(limit=3, starting_after=ids[100]) == ids[:3]
    assert reader.ids(limit=3, ending_before=ids[100]) == ids[:3]


@pytest.mark.parametrize("cursor", [ABSENT, "garbage"])
def test_unknown_cursor_is_answered_as_told(seeded, reader, cursor):
    assert reader.list(starting_after=cursor)[0] == 404
    assert reader.list(ending_before=cursor)[0] == 404
    seeded.unknown_cursor = "400"
    assert reader.list(starting_after=cursor)[0] == 400
    seeded.unknown_cursor = "empty"
    assert reader.list(starting_after=cursor)[1] == {
        "object": "list",
        "data": [],
        "has_more": False,
    }
    seeded.unknown_cursor = "first_page"
    assert reader.ids(starting_after=cursor) == ids_of(seeded)[:10]


def test_a_removed_conversation_is_an_unknown_cursor(seeded, reader):
    cursor = ids_of(seeded)[5]
    seeded.remove(cursor)
    assert reader.list(starting_after=cursor)[0] == 404


def test_hidden_conversations_are_left_out_of_lists_only(seeded, reader):
    ids = ids_of(seeded)
    seeded.hidden = {ids[1]}
    assert reader.ids(limit=3) == [ids[0], ids[2], ids[3]]
    assert reader.ids(limit=1, starting_after=ids[1]) == [ids[2]]
    assert reader.retrieve(ids[1])[0] == 200


def test_transform_list_has_the_last_word_on_lists(seeded, reader):
    seeded.transform_list = lambda answer: {**answer, "data": [None, *answer["data"][::-1]]}
    assert reader.list(limit=2)[1]["data"] == [None, *seeded.conversations[:2][::-1]]
    seeded.transform_list = lambda answer: "no list at all"
    assert reader.list() == (200, "no list at all")


def test_locked_out_looks_empty(seeded, reader):
    mine = ids_of(seeded)[0]
    seeded.locked_out = True
    assert reader.list() == (200, {"object": "list", "data": [], "has_more": False})
    for status, _ in (
        reader.create("x"),
        reader.retrieve(mine),
        reader.update(mine, displayName="x"),
        reader.delete(mine),
    ):
        assert status == 404
    seeded.locked_out = False
    assert reader.retrieve(mine)[0] == 200


def test_on_request_is_called_before_and_after_the_operation(orq_sandbox, client):
    calls = []
    orq_sandbox.on_request = lambda operation, phase: calls.append((operation, phase, len(orq_sandbox)))
    client.create("Name")
    assert calls == [("create", "before", 0), ("create", "after", 1)]


# Faults


def test_a_status_fault_answers_without_applying_and_is_used_up(orq_sandbox, client):
    orq_sandbox.fail("create", status=503, body="<h1>Wait</h1>", headers={"Retry-After": "2"})
    assert client.list()[0] == 200
    assert client.send("POST", PATH, b'{"displayName": "x"}') == (503, b"<h1>Wait</h1>")
    assert client.response.headers["Retry-After"] == "2"
    assert client.response.headers["Content-Type"].startswith("text/plain")
    assert len(orq_sandbox) == 0
    assert orq_sandbox.requests[-1].status == 503
    assert client.create("x")[0] == 201


def test_a_status_fault_may_set_its_own_content_type(orq_sandbox, client):
    orq_sandbox.fail(status=500, body=b"\xff", headers={"content-type": "text/html"})
    assert client.send("GET", PATH) == (500, b"\xff")
    assert client.response.headers.get_all("content-type") == ["text/html"]


def test_an_applied_status_fault_answers_after_the_operation_took_effect(orq_sandbox, client):
    orq_sandbox.fail("create", status=502, applied=True)
    assert client.send("POST", PATH, b'{"displayName": "x"}') == (502, b"")
    assert len(orq_sandbox) == 1


def test_times_after_and_any_operation(orq_sandbox, client):
    orq_sandbox.fail("list", after=1, times=2, status=500)
    orq_sandbox.fail("retrieve", times=None, status=429)
    assert [client.send("GET", PATH)[0] for _ in range(4)] == [200, 500, 500, 200]
    assert {client.send("GET", f"{PATH}/{ABSENT}")[0] for _ in range(4)} == {429}
    orq_sandbox.clear_faults()
    orq_sandbox.fail(status=500)
    assert client.send("GET", "/nowhere")[0] == 500
    assert client.retrieve(ABSENT)[0] == 404


def test_a_fault_without_a_kind_or_with_an_unknown_operation_is_refused(orq_sandbox):
    with pytest.raises(ValueError, match="what goes wrong"):
        orq_sandbox.fail("list", applied=True)
    with pytest.raises(ValueError, match="rename"):
        orq_sandbox.fail("rename", status=500)


@pytest.mark.parametrize(
    ("fault", "error", "left"),
    [
        ({"drop": "before"}, http.client.RemoteDisconnected, 0),
        ({"drop": "after"}, http.client.RemoteDisconnected, 1),
        ({"drop": "reset"}, ConnectionResetError, 0),
        ({"drop": "reset", "applied": True}, ConnectionResetError, 1),
    ],
)
def test_drop_closes_without_an_answer(orq_sandbox, client, fault, error, left):
    orq_sandbox.fail("create", **fault)
    with pytest.raises(error) as caught:
        client.create("x")
    assert caught.type is error
    assert len(orq_sandbox) == left
    assert orq_sandbox.requests[0].status is None


@pytest.mark.parametrize("chunked", [False, True])
def test_cut_ends_in_the_middle_of_the_body(orq_sandbox, client, chunked):
    orq_sandbox.fail("create", cut=True, chunked=chunked)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.create("x" * 100)
    assert caught.value.partial or chunked
    assert len(orq_sandbox) == 1


def test_delay_answers_late_but_applies_at_once(orq_sandbox, client):
    orq_sandbox.fail("create", delay=0.3)
    client.connection.timeout = 0.1
    with pytest.raises(TimeoutError):
        client.create("x")
    wait_for_a_request(orq_sandbox)
    assert len(orq_sandbox) == 1
    orq_sandbox.fail(delay=0.1)
    started = time.monotonic()
    client.connection.close()
    client.connection.timeout = 5
    assert client.list()[0] == 200
    assert time.monotonic() - started >= 0.1


def test_drip_sends_the_whole_answer_byte_by_byte(orq_sandbox, client):
    orq_sandbox.fail("list", drip=0.0005)
    started = time.monotonic()
    assert client.list() == (200, {"object": "list", "data": [], "has_more": False})
    assert time.monotonic() - started > 0.05
    assert client.list()[0] == 200


@pytest.mark.parametrize("fault", [{"drip": 60}, {"delay": 60}])
def test_slow_answers_stop_when_the_client_hangs_up(orq_sandbox, client, fault):
    orq_sandbox.fail("list", **fault)
    client.connection.request("GET", PATH, headers=client.headers)
    wait_for_a_request(orq_sandbox)
    client.connection.close()
    deadline = time.monotonic() + 5
    while orq_sandbox._server._connections and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not orq_sandbox._server._connections


@pytest.mark.parametrize("fault", [{"drip": 60}, {"delay": 60}])
def test_slow_answers_do_not_hold_up_the_end_of_the_sandbox(fault):
    with OrqSandbox() as sandbox, connected(sandbox) as client:
        sandbox.fail("list", **fault)
        client.connection.request("GET", PATH, headers=client.headers)
        wait_for_a_request(sandbox)
        started = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - started < 2


def test_raw_bytes_go_out_as_they_are(orq_sandbox):
    orq_sandbox.fail(raw=b"SSH-2.0-OpenSSH\r\n")
    with socket.create_connection(("127.0.0.1", orq_sandbox.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"".join(iter(lambda: sock.recv(4096), b"")) == b"SSH-2.0-OpenSSH\r\n"


@pytest.mark.parametrize("chunked", [False, True])
def test_oversize_pads_a_valid_body(orq_sandbox, client, chunked):
    orq_sandbox.fail("list", oversize=300_000, chunked=chunked)
    status, body = client.send("GET", PATH)
    assert (status, len(body)) == (200, 300_000)
    assert json.loads(body)["data"] == []
    assert ("Content-Length" in client.response.headers) is not chunked
    assert client.list()[0] == 200


# Start and end


def test_a_stopped_sandbox_starts_again_on_its_port_with_its_conversations(orq_sandbox):
    orq_sandbox.add("Name")
    port = orq_sandbox.port
    with connected(orq_sandbox) as client:
        client.list()
        orq_sandbox.stop()
        orq_sandbox.stop()
        with pytest.raises(http.client.RemoteDisconnected):
            client.list()
        with pytest.raises(ConnectionRefusedError):
            client.list()
    orq_sandbox.start()
    assert orq_sandbox.port == port
    with connected(orq_sandbox) as client:
        assert len(client.ids()) == 1


def test_a_hook_may_stop_the_sandbox(orq_sandbox, client):
    orq_sandbox.on_request = lambda operation, phase: orq_sandbox.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.list()


def test_no_socket_and_no_thread_is_left_behind():
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(5):
            with OrqSandbox() as sandbox, connected(sandbox) as client:
                client.list()
                sandbox.stop()
    assert threading.active_count() <= before


def test_the_plugin_and_the_sandbox_import_neither_django_nor_requests():
    script = (
        "import sys, django_orq.testing.plugin, django_orq.testing.__main__\n"
        "sys.exit(bool({'django', 'requests'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", script], check=False)  # noqa: S603 - ours
    assert finished.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal_and_ends_cleanly(number):
    command = [sys.executable, "-m", "django_orq.testing", "--port", "0", "--key", "demo"]
    with subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--conversations", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        port = re.search(r"http://127\.0\.0\.1:(\d+) with 3 conversations.* demo$", line)[1]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", PATH, headers={"Authorization": "Bearer demo"})
            assert connection.getresponse().status == 200
        process.send_signal(number)
        assert process.communicate(timeout=5) == ("", "")
        assert process.returncode == 0


@pytest.fixture
def _signals_restored():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, action in kept.items():
        signal.signal(number, action)


@pytest.mark.usefixtures("_signals_restored")
def test_the_command_says_where_it_listens(capsys):
    untouched = signal.getsignal(signal.SIGTERM)

    def end_it():
        while signal.getsignal(signal.SIGTERM) is untouched:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_it).start()
    assert main(["--port", "0", "--conversations", "2500"]) == 0
    assert "with 2,500 conversations" in capsys.readouterr().out


@pytest.mark.usefixtures("_signals_restored")
def test_a_port_in_use_is_one_clear_line(orq_sandbox, capsys):
    assert main(["--port", str(orq_sandbox.port)]) == 1
    expected = f"Port {orq_sandbox.port} is in use: choose another with --port.\n"
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "-1"),
        ("--port", "99999"),
        ("--conversations", "-5"),
        ("--conversations", "99999999999999999999"),
        ("--conversations", "many"),
        ("--latency", "nan"),
        ("--latency", "-1"),
        ("--latency", "1e300"),
        ("--key", ""),
        ("--key", "ké"),
    ],
    ids=" ".join,
)
def test_nonsense_is_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(words)

    assert refusal.value.code == 2
    assert f"argument {words[0]}: " in capsys.readouterr().err
