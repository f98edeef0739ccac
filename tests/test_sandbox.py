"""The sandbox follows the remote API's protocol, and fails exactly as told."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from urllib.parse import urlencode

import pytest

from django_orq.testing import OrqSandbox, make_conversation
from django_orq.testing.__main__ import main

ID = re.compile(r"conv_[0-7][0-9a-hjkmnp-tv-z]{25}")
TO_BASE_32 = str.maketrans("0123456789abcdefghjkmnpqrstvwxyz", "0123456789abcdefghijklmnopqrstuv")
KEYS = {"_id", "kind", "displayName", "createdAt", "updatedAt", "createdById", "updatedById", "metadata"}
EMPTY = {"object": "list", "data": [], "has_more": False}
ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
PATH = "/v2/conversations"


class Client:
    """One keep-alive connection to a sandbox."""

    def __init__(self, sandbox, *, path=PATH):
        self.sandbox = sandbox
        self.connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
        self.headers = {"Authorization": f"Bearer {sandbox.api_key}"}
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
    client = Client(sandbox, **options)
    with contextlib.closing(client.connection):
        yield client


@pytest.fixture
def client(orq_sandbox):
    with connected(orq_sandbox) as client:
        yield client


@pytest.fixture
def reader():
    with OrqSandbox(conversations=250) as sandbox, connected(sandbox) as client:
        yield client


@pytest.fixture
def seeded(reader):
    return reader.sandbox


@pytest.fixture
def camel():
    with OrqSandbox(style="camel") as sandbox, connected(sandbox, path=f"{PATH}/") as client:
        yield client


def ids_of(sandbox):
    return [conversation["_id"] for conversation in sandbox.conversations]


def wait_until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def exchange(sandbox, octets):
    """Send these bytes on a new connection; return everything received until it closes."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as sock:
        sock.sendall(octets)
        return b"".join(iter(lambda: sock.recv(4096), b""))


def milliseconds_of(remote_id):
    return int(remote_id[5:15].translate(TO_BASE_32), 32)


# The five operations


def test_list_gives_the_newest_ten_unless_told_otherwise_and_retrieve_the_same(seeded, reader):
    assert reader.list() == (200, {"object": "list", "data": seeded.conversations[:10], "has_more": True})
    assert reader.response.headers["Content-Type"] == "application/json"
    for item in seeded.conversations[:100]:
        assert reader.retrieve(item["_id"]) == (200, item)


def test_limit_is_from_1_to_100(reader):
    for limit in (1, 99, 100):
        assert len(reader.ids(limit=limit)) == limit
    for limit in ("0", "101", "-1", "many", "1.5", "¹"):
        status, answer = reader.list(limit=limit)
        assert (status, list(answer)) == (400, ["message"])


def test_starting_after_walks_to_the_end_and_has_more_is_exact(seeded, reader):
    seen, cursor, more = [], {}, True
    while more:
        _, page = reader.list(limit=50, **cursor)
        seen += [item["_id"] for item in page["data"]]
        cursor, more = {"starting_after": seen[-1]}, page["has_more"]
    assert seen == ids_of(seeded)
    assert seeded.count("list") == 5
    assert reader.list(starting_after=seen[-1]) == (200, EMPTY)


def test_ending_before_gives_the_page_just_before_newest_first(seeded, reader):
    ids = ids_of(seeded)
    for place, expected, more in ((10, ids[7:10], True), (3, ids[:3], False)):
        _, page = reader.list(limit=3, ending_before=ids[place])
        assert [item["_id"] for item in page["data"]] == expected
        assert page["has_more"] is more


def test_create_answers_201_with_the_whole_conversation(orq_sandbox, client):
    before = time.time_ns() // 1_000_000
    status, created = client.create("Where is my order? 🙂")
    assert (status, set(created)) == (201, KEYS)
    assert created["displayName"] == "Where is my order? 🙂"
    assert created["kind"] == "conversation"
    assert before <= created["createdAt"] == created["updatedAt"] <= time.time_ns() // 1_000_000
    assert orq_sandbox.get(created["_id"]) == created
    assert client.ids() == [created["_id"]]


NO_NAMES = [json.dumps({"displayName": name}).encode() for name in ("", "n" * 101, None, 7)]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", *NO_NAMES])
def test_what_is_no_json_object_with_a_name_of_1_to_100_characters_is_refused(orq_sandbox, client, body):
    mine = orq_sandbox.add("Name")
    for method, path in (("POST", PATH), ("PATCH", f"{PATH}/{mine['_id']}")):
        status, answer = client.send(method, path, body)
        assert status == 400
        assert json.loads(answer)["message"]
    assert client.json("POST", PATH, {})[0] == 400
    assert orq_sandbox.conversations == [mine]


def test_update_renames_and_moves_updated_at_but_changes_nothing_without_a_field(orq_sandbox, client):
    mine = orq_sandbox.add("Old")
    status, renamed = client.update(mine["_id"], displayName="New")
    assert (status, renamed) == (200, mine | {"displayName": "New", "updatedAt": renamed["updatedAt"]})
    assert client.retrieve(mine["_id"]) == client.update(mine["_id"]) == (200, renamed)
    times = [orq_sandbox.rename(mine["_id"], f"Name {n}")["updatedAt"] for n in range(50)]
    times = [mine["updatedAt"], renamed["updatedAt"], *times]
    assert all(older < newer for older, newer in pairwise(times))


def test_delete_is_permanent_and_its_answer_has_no_body(orq_sandbox, client):
    mine = orq_sandbox.add("Name")
    assert client.delete(mine["_id"]) == (204, None)
    assert "Content-Length" not in client.response.headers
    assert client.retrieve(mine["_id"])[0] == 404
    assert client.ids() == []


NO_ROUTES = [("GET", "x"), ("GET", "/"), ("GET", f"/{ABSENT}/x"), ("PUT", ""), ("BREW", ""), ("POST", f"/{ABSENT}")]
NO_CONVERSATIONS = [(method, f"/{each}") for method in ("GET", "PATCH", "DELETE") for each in (ABSENT, "garbage")]


@pytest.mark.parametrize(("method", "end"), NO_ROUTES + NO_CONVERSATIONS)
def test_an_unknown_id_or_route_is_404_with_a_message(orq_sandbox, client, method, end):
    status, answer = client.json(method, PATH + end, {"displayName": "x"})
    assert (status, list(answer)) == (404, ["message"])
    assert (orq_sandbox.requests[0].operation is None) == ((method, end) in NO_ROUTES)


def test_one_connection_serves_many_requests_unless_asked_to_close(client):
    client.list()
    sock = client.connection.sock
    client.list()
    assert client.connection.sock is sock
    client.send("GET", PATH, headers={**client.headers, "Connection": "close"})
    assert sock.recv(1) == b""


BAD_HEADERS = (b"Transfer-Encoding: x", b"Content-Length: x")


@pytest.mark.parametrize("octets", [b"nonsense", *(b"GET / HTTP/1.1\r\n" + header for header in BAD_HEADERS)])
def test_what_is_no_request_is_400_and_the_connection_closes(orq_sandbox, octets):
    assert exchange(orq_sandbox, octets + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")


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
    first, second, other = (OrqSandbox(conversations=20, seed=seed, newest_at=1_750_000_000_000) for seed in (5, 5, 6))
    assert first.conversations == second.conversations != other.conversations


def test_ids_strictly_increase_within_one_millisecond_too(seeded):
    ids = [ids_of(seeded)[0], *(seeded.add(f"Number {n}")["_id"] for n in range(500))]
    assert all(older < newer for older, newer in pairwise(ids))
    assert len({milliseconds_of(remote_id) for remote_id in ids}) < 500


def test_somebody_elses_changes_show_at_once(seeded, reader):
    first, second, *_ = ids_of(seeded)
    added = seeded.add("Brand new", metadata={"model": "m"}, shape="odd")
    seeded.rename(first, "Renamed")
    seeded.remove(second)
    newest, renamed = reader.list(limit=2)[1]["data"]
    assert newest == added
    assert added["shape"] == "odd"
    assert renamed["displayName"] == "Renamed"
    assert len(seeded) == 250
    assert second not in ids_of(seeded)
    for change in (lambda: seeded.rename(second, "x"), lambda: seeded.remove(second)):
        with pytest.raises(KeyError):
            change()
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


def test_what_one_gets_is_a_copy_and_text_that_utf_8_cannot_hold_travels_as_an_escape(orq_sandbox, client):
    mine = orq_sandbox.add("broken \ud800 \0")
    orq_sandbox.conversations[0]["metadata"]["x"] = 1
    orq_sandbox.get(mine["_id"])["displayName"] = "Other"
    assert client.list()[1]["data"] == [orq_sandbox.get(mine["_id"])] == [mine]


def test_many_threads_at_once_lose_nothing(orq_sandbox):
    def create(_):
        with connected(orq_sandbox) as client:
            for n in range(20):
                client.create(f"Number {n}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
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


def test_camel_lists_with_a_slash_and_its_cursors_have_camel_names(camel):
    ids = [camel.sandbox.add(f"Number {n}")["_id"] for n in range(5)][::-1]
    assert camel.ids(limit=2, startingAfter=ids[1]) == ids[2:4]
    assert camel.ids(limit=2, endingBefore=ids[2]) == ids[:2]
    assert camel.ids(limit=2, starting_after=ids[1]) == ids[:2]
    assert camel.send("GET", PATH)[0] == 404
    assert camel.send("POST", f"{PATH}/", b"{}")[0] == 404


def test_camel_lists_only_standalone_conversations_unless_an_entity_is_named(camel):
    alone, bound = (camel.sandbox.add(metadata={"entityId": entity})["_id"] for entity in (None, "agent_1"))
    assert camel.ids() == [alone]
    assert camel.ids(entityId="agent_1") == [bound]
    assert camel.retrieve(bound)[0] == 200


def test_camel_create_wants_a_project_and_no_name(camel):
    assert camel.create("Name")[0] == 400
    status, created = camel.json("POST", PATH, {"projectId": "p"})
    assert (status, created["displayName"]) == (201, "Untitled")
    _, created = camel.json("POST", PATH, {"projectId": "p", "displayName": "Name", "metadata": {"model": "m"}})
    assert (created["displayName"], created["metadata"]) == ("Name", {"model": "m"})


def test_camel_update_merges_metadata_and_retrieve_carries_messages(camel):
    mine = camel.sandbox.add("Name", metadata={"model": "m", "entityId": "a"})
    _, changed = camel.update(mine["_id"], metadata={"entityId": None})
    assert changed["metadata"] == {"model": "m", "entityId": None}
    assert changed["updatedAt"] > mine["updatedAt"]
    status, retrieved = camel.retrieve(mine["_id"])
    assert retrieved.pop("messages")[0]["conversationId"] == mine["_id"]
    assert (status, retrieved) == (200, changed)
    assert camel.list()[1]["data"] == [changed]


# What tests see


def test_settings_are_a_value_for_orq_workspaces(orq_sandbox):
    assert orq_sandbox.settings() == {"default": {"API_KEY": "sandbox-key", "BASE_URL": orq_sandbox.base_url}}
    assert OrqSandbox(style="camel").settings()["default"]["API_STYLE"] == "camel"


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


def test_no_other_key_is_accepted(orq_sandbox, client):
    orq_sandbox.api_key = "new"
    for headers in ({}, {"Authorization": "Bearer wrong"}, client.headers):
        status, body = client.send("GET", PATH, headers=headers)
        assert (status, list(json.loads(body))) == (401, ["message"])
    with connected(orq_sandbox) as other:
        assert other.list()[0] == 200
    assert "new" not in repr(orq_sandbox)


def test_latency_delay_and_drip_hold_the_whole_answer_back(orq_sandbox, client):
    orq_sandbox.latency = 0.1
    orq_sandbox.fail(delay=0.1)
    orq_sandbox.fail(drip=0.0005)
    for least in (0.2, 0.15, 0.1):
        started = time.monotonic()
        assert client.list() == (200, EMPTY)
        assert time.monotonic() - started >= least


def test_ignore_cursor_answers_page_one_for_ever(seeded, reader):
    seeded.ignore_cursor = True
    ids = ids_of(seeded)
    assert reader.ids(limit=3, starting_after=ids[100]) == ids[:3]
    assert reader.ids(limit=3, ending_before=ids[100]) == ids[:3]


@pytest.mark.parametrize("cursor", [ABSENT, "garbage", "removed"])
def test_unknown_cursor_is_answered_as_told(seeded, reader, cursor):
    if cursor == "removed":
        cursor = ids_of(seeded)[5]
        seeded.remove(cursor)
    assert reader.list(starting_after=cursor)[0] == reader.list(ending_before=cursor)[0] == 404
    seeded.unknown_cursor = "400"
    assert reader.list(starting_after=cursor)[0] == 400
    seeded.unknown_cursor = "empty"
    assert reader.list(starting_after=cursor) == (200, EMPTY)
    seeded.unknown_cursor = "first_page"
    assert reader.ids(starting_after=cursor) == ids_of(seeded)[:10]


def test_hidden_conversations_are_left_out_of_lists_which_are_sent_as_transformed(seeded, reader):
    ids = ids_of(seeded)
    seeded.hidden = {ids[1]}
    assert reader.ids(limit=3) == [ids[0], ids[2], ids[3]]
    assert reader.ids(limit=1, starting_after=ids[1]) == [ids[2]]
    assert reader.retrieve(ids[1])[0] == 200
    seeded.transform_list = lambda answer: {**answer, "data": [None, *answer["data"][::-1]]}
    assert reader.list(limit=2)[1]["data"] == [None, seeded.get(ids[2]), seeded.get(ids[0])]
    seeded.transform_list = lambda answer: "no list at all"
    assert reader.list() == (200, "no list at all")


def test_locked_out_looks_empty(seeded, reader):
    mine = ids_of(seeded)[0]
    seeded.locked_out = True
    assert reader.list() == (200, EMPTY)
    answers = reader.create("x"), reader.retrieve(mine), reader.update(mine, displayName="x"), reader.delete(mine)
    assert [status for status, _ in answers] == [404] * 4
    assert reader.list(starting_after=mine)[0] == 404
    seeded.locked_out = False
    assert reader.retrieve(mine)[0] == 200


def test_on_request_is_called_before_and_after_the_operation(orq_sandbox, client):
    calls = []
    orq_sandbox.on_request = lambda operation, phase: calls.append((operation, phase, len(orq_sandbox)))
    client.create("Name")
    assert calls == [("create", "before", 0), ("create", "after", 1)]


# Faults


def test_a_status_fault_answers_in_place_of_the_operation_or_after_it_and_is_used_up(orq_sandbox, client):
    orq_sandbox.fail("create", status=503, body="<h1>Wait</h1>", headers={"Retry-After": "2"})
    assert client.list()[0] == 200
    assert client.send("POST", PATH, b'{"displayName": "x"}') == (503, b"<h1>Wait</h1>")
    assert client.response.headers["Retry-After"] == "2"
    assert client.response.headers["Content-Type"].startswith("text/plain")
    assert len(orq_sandbox) == 0
    assert orq_sandbox.requests[-1].status == 503
    orq_sandbox.fail("create", status=502, body=b"\xff", headers={"content-type": "text/html"}, applied=True)
    assert client.send("POST", PATH, b'{"displayName": "x"}') == (502, b"\xff")
    assert client.response.headers.get_all("content-type") == ["text/html"]
    assert len(orq_sandbox) == 1
    assert client.create("x")[0] == 201


def test_times_after_and_any_operation(orq_sandbox, client):
    orq_sandbox.fail("list", after=1, times=2, status=500)
    orq_sandbox.fail("retrieve", times=None, status=429)
    assert [client.send("GET", PATH)[0] for _ in range(4)] == [200, 500, 500, 200]
    assert {client.send("GET", f"{PATH}/{ABSENT}")[0] for _ in range(4)} == {429}
    orq_sandbox.clear_faults()
    orq_sandbox.fail(status=500)
    assert client.send("GET", "/nowhere")[0] == 500
    assert client.retrieve(ABSENT)[0] == 404


def test_no_times_are_none(orq_sandbox, client):
    orq_sandbox.fail("list", times=0, status=500)
    assert client.send("GET", PATH)[0] == 200


def test_a_fault_without_a_kind_or_with_an_unknown_operation_is_refused(orq_sandbox):
    with pytest.raises(ValueError, match="Specify a fault"):
        orq_sandbox.fail("list", applied=True)
    with pytest.raises(ValueError, match="rename"):
        orq_sandbox.fail("rename", status=500)


DROPS = [("before", False, 0), ("after", False, 1), ("reset", False, 0), ("reset", True, 1)]


@pytest.mark.parametrize(("drop", "applied", "left"), DROPS)
def test_drop_closes_without_an_answer(orq_sandbox, client, drop, applied, left):
    orq_sandbox.fail("create", drop=drop, applied=applied)
    with pytest.raises(ConnectionResetError) as caught:
        client.create("x")
    assert caught.type is (ConnectionResetError if drop == "reset" else http.client.RemoteDisconnected)
    assert len(orq_sandbox) == left
    assert orq_sandbox.requests[0].status is None


def test_delay_answers_late_but_applies_at_once(orq_sandbox, client):
    orq_sandbox.fail("create", delay=60)
    client.connection.timeout = 0.1
    with pytest.raises(TimeoutError):
        client.create("x")
    wait_until(lambda: orq_sandbox.requests)
    assert len(orq_sandbox) == 1


@pytest.mark.parametrize("fault", [{"drip": 60}, {"delay": 60}])
def test_slow_answers_end_when_the_client_hangs_up_or_the_sandbox_stops(orq_sandbox, client, fault):
    def ask(number):
        orq_sandbox.fail("list", **fault)
        client.connection.request("GET", PATH, headers=client.headers)
        wait_until(lambda: orq_sandbox.count() == number)

    before = threading.active_count()
    ask(1)
    client.connection.close()
    wait_until(lambda: threading.active_count() == before)
    ask(2)
    started = time.monotonic()
    orq_sandbox.stop()
    assert time.monotonic() - started < 2


def test_raw_bytes_go_out_as_they_are(orq_sandbox):
    orq_sandbox.fail(raw=b"SSH-2.0-OpenSSH\r\n")
    assert exchange(orq_sandbox, b"GET / HTTP/1.1\r\n\r\n") == b"SSH-2.0-OpenSSH\r\n"


@pytest.mark.parametrize("chunked", [False, True])
def test_oversize_pads_a_valid_body_and_cut_ends_in_the_middle_of_one(orq_sandbox, client, chunked):
    orq_sandbox.fail("list", oversize=300_000, chunked=chunked)
    status, body = client.send("GET", PATH)
    assert (status, len(body)) == (200, 300_000)
    assert json.loads(body)["data"] == []
    assert ("Content-Length" in client.response.headers) is not chunked
    orq_sandbox.fail("create", cut=True, chunked=chunked)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.create("x" * 100)
    assert caught.value.partial or chunked
    assert len(orq_sandbox) == 1


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
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - ours


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal_and_ends_cleanly(number):
    command = [sys.executable, "-m", "django_orq.testing", "--port", "0", "--key", "demo"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:  # noqa: S603 - our own command
        line = process.stdout.readline()
        port = re.search(r"http://127\.0\.0\.1:(\d+) with 2,500 conversations.* demo$", line)[1]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", PATH, headers={"Authorization": "Bearer demo"})
            assert connection.getresponse().status == 200
        process.send_signal(number)
        assert process.communicate(timeout=5) == ("", "")
        assert process.returncode == 0


def test_a_port_in_use_is_one_clear_line(orq_sandbox, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["--port", str(orq_sandbox.port)]) == 1
    assert capsys.readouterr() == ("", f"Port {orq_sandbox.port} is in use. Choose another one with --port.\n")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--port", ["-1", "99999"]),
        ("--conversations", ["-5", "99999999999999999999", "many"]),
        ("--latency", ["nan", "-1", "1e300"]),
        ("--key", ["", "ké"]),
    ],
)
def test_nonsense_is_wrong_usage(option, values, capsys):
    for value in values:
        with pytest.raises(SystemExit) as refusal:
            main([option, value])
        assert refusal.value.code == 2
        assert f"argument {option}: " in capsys.readouterr().err
