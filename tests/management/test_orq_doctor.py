"""Each finding of orq_doctor, with the sandbox: its message, its advice, and the exit code."""

import io
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_orq.models import WorkspaceWait
from django_orq.testing import OrqSandbox

from ..walking import configure, fill, full_run

pytestmark = pytest.mark.django_db

KEY = "orq-key-4711-of-the-tests"
ECHO = f'{{"message": "no key {KEY} here"}}'


class Verdict(list[str]):
    """The output lines of a call, and its exit code."""

    def __init__(self, *words: str) -> None:
        stdout = io.StringIO()
        self.code, self.error = 0, ""
        try:
            call_command("orq_doctor", *words, stdout=stdout, no_color=True)
        except CommandError as error:
            self.code, self.error = error.returncode, str(error)
        super().__init__(stdout.getvalue().splitlines())

    def all_is_well(self) -> bool:
        return (self.code, self[-1], self.failing()) == (0, "No problems found.", [])

    def failing(self) -> list[str]:
        """The failing lines; also checks that each gives advice and that the command failed."""
        lines = [line for line in self if line.startswith("  FAIL  ")]
        assert all(re.search(r" → [A-Z].*\.$", line) for line in lines)
        assert bool(lines) == (self.code == 1)
        return lines

    def only_failing(self) -> str:
        (line,) = self.failing()
        return line

    def says(self, text: str) -> bool:
        return any(line.startswith("  ok    ") and text in line for line in self)


@pytest.fixture
def filled(remote: OrqSandbox) -> OrqSandbox:
    fill(remote, 3)
    return remote


@pytest.fixture
def camel(settings):
    """A server of the “camel” dialect, with three standalone conversations."""
    with OrqSandbox(style="camel") as sandbox:
        settings.ORQ_WORKSPACES = sandbox.settings()
        for number in range(3):
            sandbox.add(f"Ticket {number}", metadata={})
        yield sandbox


def spoil(*changes: tuple[int, dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A ``transform_list`` that changes items by their position; ``None`` removes a key."""

    def transform(answer: dict[str, Any]) -> dict[str, Any]:
        for place, change in changes:
            if place < len(answer["data"]):
                item = answer["data"][place] | change
                answer["data"][place] = {name: value for name, value in item.items() if value is not None}
        return answer

    return transform


def test_all_is_well_and_nothing_is_written_there_or_here(filled, statements):
    with statements() as executed:
        verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict[0] == f"Workspace 'default' at {filled.base_url}, API_STYLE 'snake'"
    newest, second, _ = (conversation["_id"] for conversation in filled.conversations)
    for finding in (
        "the API key is accepted",
        "items on the first page of the list: 3",
        "ordered with the newest conversations first",
        f"can be retrieved ({newest})",
        f"the cursor advances (to {second})",
    ):
        assert verdict.says(finding), finding
    assert {request.method for request in filled.requests} == {"GET"}
    assert {statement.split()[0] for statement in executed} == {"SELECT"}


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "the list is empty (to check"),
        (1, "nothing follows the only conversation"),
        (150, "first page of the list: 100"),
    ],
)
def test_any_number_of_conversations_is_well(settings, count, said):
    with OrqSandbox(conversations=count) as sandbox:
        settings.ORQ_WORKSPACES = sandbox.settings()

        verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says(said)


def test_other_workspace_is_examined_by_its_alias(filled, settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": ""}, "shop": filled.settings()["default"]}

    assert Verdict("--workspace", "shop").all_is_well()
    assert Verdict("--workspace", "shop")[0].startswith("Workspace 'shop'")


@pytest.mark.parametrize(
    ("workspaces", "said"),
    [
        (None, "Set ORQ_API_KEY, or add this alias"),
        ({}, "(configured: none). Add this alias"),
        ({"default": {"API_KEY": ""}}, "['API_KEY'] is empty"),
    ],
    ids=["unset", "none", "without a key"],
)
def test_missing_settings_are_said_and_nothing_is_sent(remote, settings, monkeypatch, workspaces, said):
    monkeypatch.delenv("ORQ_API_KEY", raising=False)
    settings.ORQ_WORKSPACES = workspaces

    assert (Verdict().code, said in Verdict().error) == (2, True)
    assert remote.count() == 0


def test_refused_key_names_the_vendors_addresses_and_goes_to_neither(remote, settings, monkeypatch):
    configure(settings, API_KEY=KEY)
    hosts, look_up = set(), socket.getaddrinfo

    def note(host, *args: Any, **kwargs: Any):
        hosts.add(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", note)
    verdict = Verdict()

    assert "Check API_KEY" in verdict.only_failing()
    assert "try Orq's other address as BASE_URL (https://my.orq.ai, https://api.orq.ai)" in verdict.only_failing()
    assert hosts == {"127.0.0.1"}
    assert remote.count() == 1


def test_address_that_is_no_orq_names_the_vendors(remote, settings):
    configure(settings, BASE_URL=f"{remote.base_url}/elsewhere")

    assert re.search("404.*Check BASE_URL.*https://my.orq.ai, https://api.orq.ai", Verdict().only_failing())


@pytest.mark.parametrize(
    ("base_url", "other"), [("https://my.orq.ai", "https://api.orq.ai"), ("https://API.orq.ai/", "https://my.orq.ai")]
)
def test_vendors_own_address_names_the_other_one(remote, settings, monkeypatch, base_url, other):
    """The name is resolved to the sandbox, the only thing patched; it has no TLS, so http stands for https."""
    url = base_url.replace("https://", "http://").rstrip("/") + f":{remote.port}"
    configure(settings, API_KEY=KEY, BASE_URL=url)
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **named: look_up("127.0.0.1", *more, **named))

    problem = Verdict().only_failing()
    assert "try Orq's other address" in problem
    assert other in problem


def fail(operation: str | None = None, **answer: Any) -> Callable[[OrqSandbox], None]:
    return lambda remote: remote.fail(operation, **answer)


def transform(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[OrqSandbox], None]:
    return lambda remote: setattr(remote, "transform_list", change)


EMPTY = '{"object": "list", "data": [], "has_more": false}'
FAULTS: list[tuple[str, Callable[[OrqSandbox], object]]] = [
    ("The list request to Orq failed", OrqSandbox.stop),
    ("Check its permissions in Orq", fail(status=403)),
    ("Orq failed with status", fail(status=500)),
    ("too many requests", fail(status=429)),
    ("status 409", fail(status=409)),
    ("it is not JSON.*Check BASE_URL and any proxy", fail(status=200, body="<html>Please sign in</html>")),
    ("it is a redirect", fail(status=302, headers={"Location": "https://evil.test/"})),
    ("the list is empty, but has_more says", transform(lambda answer: answer | {"data": [], "has_more": True})),
    ("not ordered by id with the newest", transform(lambda answer: answer | {"data": answer["data"][::-1]})),
    (
        "in the list, but cannot be retrieved",
        fail("retrieve", status=404, body='{"message": "Conversation not found"}'),
    ),
    ("empty, although there are older ones", fail("list", after=1, status=200, body=EMPTY)),
    ("no item on the page has a valid id", fail("list", after=1, status=200, body=EMPTY.replace("[]", "[{}]"))),
    ("does not advance.*Try API_STYLE 'camel'", lambda remote: setattr(remote, "ignore_cursor", True)),
    ("status 400.*Try API_STYLE 'camel'", fail("list", after=1, status=400)),
    ("too many requests", fail("list", after=1, status=429)),
]


@pytest.mark.parametrize(("said", "spoil_it"), FAULTS, ids=[said for said, _spoil_it in FAULTS])
def test_fault_of_the_server_is_said_once_with_a_remedy(filled, said, spoil_it):
    spoil_it(filled)

    assert re.search(said, Verdict().only_failing())


def test_refused_items_are_told_with_their_reasons(filled):
    filled.transform_list = spoil((1, {"createdAt": "yesterday"}), (2, {"_id": "conv_SHOUTED"}))
    second = filled.conversations[1]["_id"]

    verdict = Verdict()

    first, other = verdict.failing()
    assert f"{second} cannot be mirrored: “createdAt” must be a number of milliseconds" in first
    assert "an item without a valid id cannot be mirrored: “_id” is not a conversation id" in other
    assert verdict.error == "2 problems found."
    filled.transform_list = lambda answer: answer | {"data": [item | {"kind": "x"} for item in answer["data"] * 5]}
    assert len(Verdict().failing()) == 5  # and the others in the admin


@pytest.mark.parametrize(
    ("newer", "said"),
    [
        (0, "contains conversations that are mirrored here"),
        (100, "only new conversations; mirrored ones can be retrieved"),
    ],
)
def test_mirror_of_this_workspace_is_recognized(filled, newer, said):
    full_run()
    for number in range(newer):
        filled.add(f"New {number}")

    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says(said)


def test_mirror_of_another_workspace_is_said(filled, settings):
    full_run()
    with OrqSandbox(conversations=3) as other:
        configure(settings, BASE_URL=other.base_url)

        assert re.search("none of the mirrored conversations.*API_KEY and BASE_URL", Verdict().only_failing())


def test_empty_list_of_another_workspace_is_said(filled, settings):
    full_run()
    with OrqSandbox() as other:
        configure(settings, BASE_URL=other.base_url)

        assert "none of the mirrored conversations" in Verdict().only_failing()


@pytest.mark.parametrize(("server", "style", "other"), [("camel", "snake", "camel"), ("filled", "camel", "snake")])
def test_server_of_the_other_style_is_found_by_its_path(request, settings, server, style, other):
    request.getfixturevalue(server)
    configure(settings, API_STYLE=style)

    assert f"Try API_STYLE '{other}', and check BASE_URL" in Verdict().only_failing()


@pytest.mark.parametrize("status", [429, 503, 404])
@pytest.mark.parametrize(("call", "place"), [("list", 0), ("list", 1), ("retrieve", 0)])
def test_retry_after_ends_the_examination(filled, status, call, place):
    filled.fail(call, after=place, status=status, headers={"Retry-After": "86400"})

    assert "again in 86,400 seconds" in Verdict().only_failing()
    assert filled.requests[-1].operation == call
    assert filled.count(call) == place + 1
    assert not WorkspaceWait.objects.exists()


def test_wait_in_force_is_heeded(filled):
    WorkspaceWait.objects.create(workspace="default", until=datetime.now(UTC) + timedelta(minutes=5))

    assert re.search(r"no requests until \d\d:\d\d:\d\d UTC.*again in \d{3} seconds", Verdict().only_failing())
    assert filled.count() == 0


@pytest.mark.parametrize(("workspace", "minutes"), [("default", -5), ("other", 5)])
def test_wait_that_is_over_or_another_workspaces_is_none(filled, workspace, minutes):
    WorkspaceWait.objects.create(workspace=workspace, until=datetime.now(UTC) + timedelta(minutes=minutes))

    assert Verdict().all_is_well()


@pytest.mark.django_db(transaction=True)
def test_database_without_our_tables_is_said(filled):
    table = WorkspaceWait._meta.db_table
    rename = "ALTER TABLE {} RENAME TO {}".format
    with connection.cursor() as cursor:
        cursor.execute(rename(table, "put_aside"))
        try:
            verdict = Verdict()
        finally:
            cursor.execute(rename("put_aside", table))

    assert (verdict.code, "run “manage.py migrate”" in verdict.error) == (1, True)


@pytest.mark.parametrize("operation", ["list", "retrieve"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500])
def test_key_that_a_server_echoes_is_not_shown(filled, settings, operation, status):
    filled.api_key = KEY
    configure(settings, API_KEY=KEY)
    filled.fail(operation, times=None, status=status, body=ECHO, headers={"X-Echo": KEY, "Location": f"/{KEY}"})

    verdict = Verdict()

    assert verdict.failing()
    assert KEY not in "\n".join(verdict) + verdict.error
