"""Each finding of the doctor, over the sandbox: what it says, what it advises, and how it ends."""

import io
import json
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_orq.management.doctor import UNKNOWN_ID
from django_orq.models import WorkspaceWait
from django_orq.payloads import is_remote_id
from django_orq.testing import OrqSandbox

from ..walking import configure, full_run

pytestmark = pytest.mark.django_db

KEY = "orq-key-4711-of-the-tests"
ECHO = f'{{"message": "no key {KEY} here"}}'


class Verdict(list[str]):
    """The lines of a call, and with what code it ended."""

    def __init__(self, *words: str) -> None:
        stdout = io.StringIO()
        self.code, self.error = 0, ""
        try:
            call_command("orq_doctor", *words, stdout=stdout, no_color=True)
        except CommandError as error:
            self.code, self.error = error.returncode, str(error)
        super().__init__(stdout.getvalue().splitlines())

    def all_is_well(self) -> bool:
        return (self.code, self[-1], self.failing()) == (0, "All is well.", [])

    def failing(self) -> list[str]:
        """The failing lines, once it is sure that each advises something and that the command failed."""
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
    for number in range(3):
        remote.add(f"Ticket {number}")
    return remote


@pytest.fixture
def camel(settings):
    """A server of the last dialect, with three standalone conversations."""
    with OrqSandbox(style="camel") as sandbox:
        settings.ORQ_WORKSPACES = sandbox.settings()
        for number in range(3):
            sandbox.add(f"Ticket {number}", metadata={})
        yield sandbox


def spoil(*changes: tuple[int, dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A ``transform_list`` that changes items by their place; ``None`` takes a key away."""

    def transform(answer: dict[str, Any]) -> dict[str, Any]:
        for place, change in changes:
            if place < len(answer["data"]):
                item = answer["data"][place] | change
                answer["data"][place] = {name: value for name, value in item.items() if value is not None}
        return answer

    return transform


# All is well


def test_all_is_well(filled):
    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict[0] == f"Workspace 'default' at {filled.base_url}, API_STYLE 'snake'"
    newest, second, _ = (conversation["_id"] for conversation in filled.conversations)
    for finding in (
        "no wait that Orq asked for is in force",
        "the API key is accepted",
        "the list answers: 3 on its first page, which is all",
        "ids and times are well formed in 3 of 3",
        "the newest come first",
        f"can be retrieved ({newest})",
        "look like those of the public reference",
        f"the cursor advances (to {second})",
        "an unknown cursor is answered with 404, which a sync run bears",
    ):
        assert verdict.says(finding), finding


def test_writes_nothing_there_or_here(filled, statements):
    with statements() as executed:
        Verdict()

    assert {request.method for request in filled.requests} == {"GET"}
    assert {statement.split()[0] for statement in executed} == {"SELECT"}


def test_asks_for_a_page_of_a_hundred(settings):
    with OrqSandbox(conversations=250) as sandbox:
        settings.ORQ_WORKSPACES = sandbox.settings()

        assert Verdict().says("the list answers: 100 on its first page, and there are more")


def test_empty_list_is_well(remote):
    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says("it is empty (create a conversation in Orq to have its cursor tried)")


def test_single_conversation_is_enough_to_try_the_cursor(remote):
    remote.add("Ticket")

    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says("the cursor is understood: nothing comes after the only conversation")


def test_other_workspace_is_examined_by_its_alias(filled, settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": ""}, "shop": filled.settings()["default"]}

    verdict = Verdict("--workspace", "shop")

    assert verdict.all_is_well()
    assert verdict[0].startswith("Workspace 'shop'")


# Configuration


def test_missing_configuration_says_what_to_write(settings):
    settings.ORQ_WORKSPACES = {}

    assert (Verdict().code, "Set ORQ_API_KEY" in Verdict().error) == (2, True)


def test_missing_key_is_said_and_nothing_is_sent(remote, settings):
    configure(settings, API_KEY="")

    assert (Verdict().code, "['API_KEY'] is empty" in Verdict().error) == (2, True)
    assert remote.count() == 0


# The key and the address


def test_refused_key_names_the_vendors_addresses_and_goes_to_neither(remote, settings, monkeypatch):
    configure(settings, API_KEY=KEY)
    hosts, look_up = set(), socket.getaddrinfo

    def note(host, *args: Any, **kwargs: Any):
        hosts.add(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", note)
    verdict = Verdict()

    assert "Check API_KEY" in verdict.only_failing()
    assert "https://my.orq.ai or https://api.orq.ai: try that BASE_URL" in verdict.only_failing()
    assert hosts == {"127.0.0.1"}
    assert remote.count() == 1


def test_address_that_is_no_orq_names_the_vendors(remote, settings):
    configure(settings, BASE_URL=f"{remote.base_url}/elsewhere")

    line = Verdict().only_failing()

    assert "404" in line
    assert "Check BASE_URL" in line
    assert "https://my.orq.ai or https://api.orq.ai" in line


@pytest.mark.parametrize(
    ("base_url", "other"), [("https://my.orq.ai", "https://api.orq.ai"), ("https://API.orq.ai/", "https://my.orq.ai")]
)
def test_vendors_own_address_names_the_other_one(remote, settings, monkeypatch, base_url, other):
    """The name is led to the sandbox, at the true boundary; it speaks no TLS, so http stands for https."""
    url = base_url.replace("https://", "http://").rstrip("/") + f":{remote.port}"
    configure(settings, API_KEY=KEY, BASE_URL=url)
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **named: look_up("127.0.0.1", *more, **named))

    assert f"it may belong to {other}: try" in Verdict().only_failing()


def test_key_without_permission_is_said(remote):
    remote.fail(status=403)

    assert "Check the key's permissions in Orq" in Verdict().only_failing()


def test_listed_conversation_that_its_id_does_not_find_is_said(filled):
    filled.fail("retrieve", status=404, body='{"message": "Conversation not found"}')

    verdict = Verdict()

    assert f"{filled.conversations[0]['_id']} is listed, but not to be found" in verdict.only_failing()
    assert verdict.says("the cursor advances")


# The list


def test_answer_that_is_no_list_is_said(remote):
    remote.fail(status=200, body="<html>Please sign in</html>")

    line = Verdict().only_failing()

    assert "it is not JSON" in line
    assert "Check that BASE_URL is Orq's own address" in line


def test_redirect_is_not_followed(remote):
    remote.fail(status=302, headers={"Location": "https://evil.test/"})

    assert "it sends us elsewhere" in Verdict().only_failing()
    assert remote.count() == 1


def test_server_that_is_down_is_said(remote):
    remote.stop()

    assert "could not be reached" in Verdict().only_failing()


@pytest.mark.parametrize(("status", "said"), [(500, "Orq is in trouble"), (429, "slow down"), (409, "answered 409")])
def test_other_refusal_is_said(remote, status, said):
    remote.fail(status=status)

    assert said in Verdict().only_failing()
    assert remote.count() == 1


def test_empty_list_that_says_there_is_more_is_said(remote):
    remote.transform_list = lambda answer: answer | {"has_more": True}

    assert "is empty, and says that there is more" in Verdict().only_failing()


def test_refused_items_are_told_with_their_reasons(filled):
    filled.transform_list = spoil((1, {"createdAt": "yesterday"}), (2, {"_id": "conv_SHOUTED"}))
    second = filled.conversations[1]["_id"]

    verdict = Verdict()

    first, other = verdict.failing()
    assert f"{second} can't be mirrored: “createdAt” must be a number of milliseconds" in first
    assert "an item without a usable id can't be mirrored: “_id” is not a conversation id" in other
    assert verdict.says("ids and times are well formed in 1 of 3")
    assert verdict.error == "2 of these findings need a person."


def test_mirror_of_this_workspace_is_recognized(filled):
    full_run()

    assert Verdict().says("the list shows conversations that are mirrored here")


def test_mirror_of_this_workspace_is_recognized_behind_many_new_conversations(filled):
    full_run()
    for number in range(100):
        filled.add(f"New {number}")

    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says("the list shows only new conversations; what is mirrored here can be retrieved")


def test_mirror_of_another_workspace_is_said(filled, settings):
    full_run()
    with OrqSandbox(conversations=3) as other:
        configure(settings, BASE_URL=other.base_url)

        failing = Verdict().only_failing()

    assert "nothing of what is mirrored here" in failing
    assert "API_KEY and BASE_URL" in failing


def test_many_refused_items_are_counted(settings):
    with OrqSandbox(conversations=20) as sandbox:
        settings.ORQ_WORKSPACES = sandbox.settings()
        sandbox.transform_list = spoil(*((place, {"kind": "message"}) for place in range(20)))

        failing = Verdict().failing()

    assert len(failing) == 6
    assert "15 more can't be mirrored" in failing[-1]


def test_list_in_another_order_is_said(filled):
    filled.transform_list = lambda answer: answer | {"data": answer["data"][::-1]}

    assert "not ordered by id" in Verdict().only_failing()


def test_times_in_seconds_are_said(filled):
    filled.transform_list = spoil((1, {"createdAt": 1_760_000_000}))

    assert "was created in 1970" in Verdict().only_failing()


# The cursor and the dialect


def test_ignored_cursor_names_the_style(filled):
    filled.ignore_cursor = True

    line = Verdict().only_failing()

    assert "API_STYLE 'snake'" in line
    assert "API_STYLE 'camel' does not help" in line


def test_ignored_cursor_is_noticed_with_one_conversation_too(remote):
    remote.add("Ticket")
    remote.ignore_cursor = True

    assert "API_STYLE 'snake'" in Verdict().only_failing()


def test_style_that_pages_where_ours_is_ignored_is_found(camel, settings):
    """As of a server that takes both paths, and knows the camelCase name alone."""
    configure(settings, API_STYLE="snake")
    page_one = json.dumps({"object": "list", "data": camel.conversations, "has_more": False})
    camel.fail(status=200, body=page_one)
    camel.fail(after=1, status=200, body=page_one)

    verdict = Verdict()

    assert "brings nothing older" in verdict.only_failing()
    assert "This server understands API_STYLE 'camel': set that." in verdict.only_failing()


@pytest.mark.parametrize("status", [400, 404])
def test_refused_cursor_is_said(filled, status):
    filled.fail("list", after=1, status=status)

    assert re.search(f"answered {status}.*API_STYLE 'camel' does not help", Verdict().only_failing())


def test_server_of_the_other_style_is_found_by_its_path(camel, settings):
    configure(settings, API_STYLE="snake")

    assert "This server understands API_STYLE 'camel': set that." in Verdict().only_failing()


def test_server_of_our_style_is_found_by_its_path(filled, settings):
    configure(settings, API_STYLE="camel")

    assert "This server understands API_STYLE 'snake': set that." in Verdict().only_failing()


def test_last_dialect_is_well(camel):
    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says("look like those of SDK 4.1.15 to 4.3.20")


@pytest.mark.parametrize(("field", "sdk"), [("entity_id", "4.1.0-rc.35"), ("entityId", "4.1.5")])
def test_dialect_is_told_by_the_objects(filled, field, sdk):
    filled.transform_list = spoil((0, {field: "e-1"}))

    assert Verdict().says(f"look like those of SDK {sdk}")


def test_page_after_the_newest_that_is_empty_is_said(filled):
    filled.fail("list", after=1, status=200, body='{"object": "list", "data": [], "has_more": false}')

    assert "is empty, though there are older ones" in Verdict().only_failing()


def test_page_after_the_newest_without_a_usable_id_is_said(filled):
    filled.fail("list", after=1, status=200, body='{"object": "list", "data": [{}], "has_more": false}')

    assert "without a single usable id" in Verdict().only_failing()


@pytest.mark.parametrize(
    ("switch", "said"),
    [("404", "with 404"), ("400", "with 400"), ("empty", "with an empty page"), ("first_page", "with page one again")],
)
def test_answer_to_an_unknown_cursor_is_told(filled, switch, said):
    filled.unknown_cursor = switch

    verdict = Verdict()

    assert verdict.all_is_well()
    assert verdict.says(f"an unknown cursor is answered {said}, which a sync run bears")


def test_unknown_cursor_is_well_formed(filled):
    Verdict()

    assert is_remote_id(UNKNOWN_ID)
    assert filled.requests[-1].query["starting_after"] == UNKNOWN_ID


def test_unknown_cursor_that_breaks_the_server_is_said(filled):
    filled.fail("list", after=2, status=500)

    line = Verdict().only_failing()

    assert "an unknown cursor is answered with 500" in line
    assert "orq_sync --fresh" in line


# Waits


@pytest.mark.parametrize("status", [429, 503, 404])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_retry_after_ends_the_examination(filled, status, place):
    filled.fail("list", after=place, status=status, headers={"Retry-After": "7"})

    assert "asked again in 7 s, not before" in Verdict().only_failing()
    assert filled.count("list") == place + 1
    assert not WorkspaceWait.objects.exists()


def test_retry_after_of_a_retrieve_ends_it_too(filled):
    filled.fail("retrieve", status=404, headers={"Retry-After": "86400"})

    assert "asked again in 86,400 s" in Verdict().only_failing()
    assert filled.count() == 2


def test_rate_limit_without_a_time_is_no_verdict_on_the_cursor(filled):
    filled.fail("list", after=2, status=429)

    assert "slow down" in Verdict().only_failing()


def test_wait_in_force_is_heeded(filled):
    WorkspaceWait.objects.create(workspace="default", until=datetime.now(UTC) + timedelta(minutes=5))

    verdict = Verdict()

    assert re.search(r"wait until \d\d:\d\d:\d\d UTC.*asked again in \d{3} s", verdict.only_failing())
    assert filled.count() == 0


@pytest.mark.parametrize(("workspace", "minutes"), [("default", -5), ("other", 5)])
def test_wait_that_is_over_or_another_workspaces_is_none(filled, workspace, minutes):
    WorkspaceWait.objects.create(workspace=workspace, until=datetime.now(UTC) + timedelta(minutes=minutes))

    assert Verdict().all_is_well()


@pytest.mark.django_db(transaction=True)
def test_database_without_our_tables_is_said_and_orq_is_examined(filled):
    table = WorkspaceWait._meta.db_table
    rename = "ALTER TABLE {} RENAME TO {}".format
    with connection.cursor() as cursor:
        cursor.execute(rename(table, "put_aside"))
        try:
            verdict = Verdict()
        finally:
            cursor.execute(rename("put_aside", table))

    assert "run “manage.py migrate”" in verdict.only_failing()
    assert verdict.says("the cursor advances")


# The key


@pytest.mark.parametrize("operation", ["list", "retrieve"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500])
def test_key_that_a_server_echoes_is_not_shown(filled, settings, operation, status):
    filled.api_key = KEY
    configure(settings, API_KEY=KEY)
    filled.fail(operation, times=None, status=status, body=ECHO, headers={"X-Echo": KEY, "Location": f"/{KEY}"})

    verdict = Verdict()

    assert verdict.failing()
    assert KEY not in "\n".join(verdict) + verdict.error
