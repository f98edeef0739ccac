"""The changes of conversations over REST."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from django_orq import mirror as verbs
from django_orq.models import Conversation, ConversationChange
from django_orq.rest.views import ConversationViewSet
from django_orq.store.reconcile import reconcile

from ..resting import ALL, CHANGES, LIST, Program, error_of, page_of, user_with
from ..values import NOON, REMOTE_ID, answer, at, conversation
from ..walking import configure, fill, full_run

pytestmark = pytest.mark.django_db(transaction=True)
THEIRS = "00000000000000000000ee06"


def rename(remote_id: str, name: str, *, minute: int, workspace: str = "default") -> None:
    """Mirror a conversation if it is not, and then its rename in Orq, which is recorded at this minute after noon."""
    values = {"remote_id": remote_id, "updated_by_id": THEIRS}
    reconcile(answer(conversation(**values), asked=0), workspace=workspace)
    renamed = conversation(**values, display_name=name, updated_at=at(60 * minute))
    reconcile(answer(renamed, asked=60 * minute, took=0), workspace=workspace)


def changes(program: Program, path: str = CHANGES, **query: object) -> list[dict[str, object]]:
    response = program.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def walk(program: Program, direction: str, url: str, **query: object) -> Iterator[dict[str, Any]]:
    """Yield this page and those that follow in this direction, each with its URL."""
    response = program.get(url, params=query)
    yield response.json() | {"url": response.url}
    while url := response.json()[direction]:
        response = program.get(url)
        yield response.json() | {"url": url}


@pytest.fixture
def recorded(remote, rows, program) -> list[ConversationChange]:
    """A rename over REST, one by a program, one in Orq, and a deletion there, the oldest first."""
    assert program.patch(page_of(rows[0]), json={"display_name": "By REST"}).status_code == 200
    verbs.rename_conversation(rows[1], display_name="By program", by="nightly import")
    remote.add("In Orq", _id=rows[1].remote_id, updatedById=THEIRS)
    full_run()
    remote.remove(rows[2].remote_id)
    full_run()
    return list(ConversationChange.objects.order_by("pk"))


def test_each_change_has_its_requester(recorded, program, rows):
    deleted, in_orq, by_program, over_rest = changes(program)
    agent = User.objects.get()

    columns = ("kind", "old_name", "new_name", "origin", "actor_name")
    assert [tuple(change[name] for name in columns) for change in (over_rest, by_program, in_orq, deleted)] == [
        ("renamed", "Three", "By REST", "here", agent.username),
        ("renamed", "Two", "By program", "here", "nightly import"),
        ("renamed", "By program", "In Orq", "orq", None),
        ("deleted", "One", None, "orq", None),
    ]
    assert over_rest["remote_id"] == rows[0].remote_id
    assert over_rest["actor_id"] == str(agent.pk)
    assert in_orq["actor_id"] == THEIRS
    assert datetime.fromisoformat(over_rest["recorded_at"]) == recorded[0].recorded_at
    assert (in_orq["run"], over_rest["run"]) == (recorded[2].run_id, None)


def test_filters(recorded, program):
    first, second, third, fourth = recorded
    of_second = second.recorded_at.isoformat()

    def found(**query: object) -> list[object]:
        return [change["id"] for change in changes(program, **query)]

    assert found(since=of_second) == [fourth.pk, third.pk, second.pk]
    assert found(until=of_second) == [first.pk]
    assert found(since=of_second, until=third.recorded_at.isoformat()) == [second.pk]
    assert found(since="0001-01-02", until="9999-12-31") == [fourth.pk, third.pk, second.pk, first.pk]
    assert found(origin="here") == [second.pk, first.pk]
    assert found(kind="deleted") == [fourth.pk]
    assert found(actor="nightly import") == [second.pk]
    assert found(actor=THEIRS, origin="orq", kind="renamed") == [third.pk]
    assert found(actor="nobody") == []


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"until": "2026-02-30"},
        {"origin": "there"},
        {"kind": "moved"},
        {"actor": "a" * 256},
        {"actor": "\0"},
        {"page_size": 0},
    ],
    ids=str,
)
def test_invalid_values_are_errors(rows, program, query):
    for path in (CHANGES, f"{page_of(rows[0])}changes/"):
        response = program.get(path, params=query)

        assert response.status_code == 400
        assert error_of(response)["errors"].keys() == query.keys()


def test_changes_of_one_conversation(recorded, program, rows):
    def names(row: Conversation, **query: object) -> list[object]:
        return [change["new_name"] for change in changes(program, f"{page_of(row)}changes/", **query)]

    assert names(rows[1]) == ["In Orq", "By program"]
    assert names(rows[1], origin="here") == ["By program"]
    assert names(rows[2]) == [None]  # a deleted one


@pytest.mark.parametrize("remote_id", [REMOTE_ID, REMOTE_ID.upper(), REMOTE_ID[:-1], "fetch", "%00"])
def test_changes_of_an_unknown_conversation_are_not_found(program, settings, remote_id):
    settings.ORQ_WORKSPACES |= {"sales": settings.ORQ_WORKSPACES["default"]}
    rename(REMOTE_ID, "Theirs", minute=1, workspace="sales")

    response = program.get(f"{LIST}{remote_id}/changes/")

    error = error_of(response)
    assert (response.status_code, error["code"]) == (404, "not_found")
    assert error["message"] == str(ConversationViewSet.not_found)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
def test_pages_of_entries_of_one_time_skip_and_repeat_none(remote, program, size):
    """One batch records seven changes at one time, between an older and a newer one."""
    ids = fill(remote, 7)
    full_run()
    for number, those in enumerate((ids[:1], ids, ids[-1:])):
        for remote_id in those:
            remote.rename(remote_id, f"Renamed in batch {number}")
        full_run()
    assert len(set(ConversationChange.objects.values_list("recorded_at"))) == 3

    there = list(walk(program, "next", CHANGES, page_size=size))
    back = list(walk(program, "previous", there[-1]["url"]))

    newest_first = list(ConversationChange.objects.order_by("-pk").values_list("pk", flat=True))
    assert [change["id"] for page in there for change in page["results"]] == newest_first
    assert [change["id"] for page in back[::-1] for change in page["results"]] == newest_first


def test_altered_cursor_is_an_error(recorded, program):
    assert error_of(program.get(CHANGES, params={"cursor": "cD1zb29u"}))["code"] == "invalid_cursor"


def test_changes_of_other_workspaces_are_not_shown(program, settings):
    """The same conversation is mirrored in both."""
    settings.ORQ_WORKSPACES |= {"sales": settings.ORQ_WORKSPACES["default"]}
    rename(REMOTE_ID, "Ours", minute=1)
    rename(REMOTE_ID, "Theirs", minute=2, workspace="sales")

    for path in (CHANGES, f"{LIST}{REMOTE_ID}/changes/"):
        assert [change["new_name"] for change in changes(program, path)] == ["Ours"]
        assert [change["new_name"] for change in changes(program, path, workspace="sales")] == ["Theirs"]


def test_permission_is_required(rows, live_server):
    others = set(ALL) - {"view_conversationchange"}
    with Program(f"{live_server.url}/orq", user=user_with(*others, name="other")) as program:
        for path in (CHANGES, f"{page_of(rows[0])}changes/", f"{LIST}{REMOTE_ID}/changes/"):
            assert program.get(path).status_code == 403


def ask_for_names(ids: list[str]) -> dict[str, str]:
    asked.append(ids)
    return {THEIRS: "Ada"}


asked: list[list[str]] = []


@pytest.mark.parametrize("people", [{THEIRS: "Ada"}, ask_for_names, f"{__name__}.ask_for_names"])
def test_people_in_orq_have_their_names(recorded, program, settings, people):
    """A callable is asked once for each page that shows changes made in Orq."""
    asked.clear()
    configure(settings, PEOPLE=people)
    rename(REMOTE_ID, "Theirs too", minute=1)  # long before the others

    pages = list(walk(program, "next", CHANGES, page_size=2))

    names = [(change["actor_id"], change["actor_name"]) for page in pages for change in page["results"]]
    agent = User.objects.get()
    ours = [("nightly import", "nightly import"), (str(agent.pk), agent.username)]
    assert names == [("", None), (THEIRS, "Ada"), *ours, (THEIRS, "Ada")]
    assert asked == ([] if isinstance(people, dict) else [[THEIRS], [THEIRS]])


def test_people_are_asked_for_once_if_a_page_has_several_changes_of_theirs(program, settings):
    asked.clear()
    configure(settings, PEOPLE=ask_for_names)
    for minute in (1, 2, 3):
        rename(REMOTE_ID, f"Name {minute}", minute=minute)

    assert [change["actor_name"] for change in changes(program)] == ["Ada"] * 3
    assert asked == [[THEIRS]]


def test_callable_that_fails_is_logged_and_survived(recorded, program, settings, caplog):
    def fail(_ids: list[str]) -> dict[str, str]:
        raise ZeroDivisionError

    configure(settings, PEOPLE=fail)

    assert {change["actor_name"] for change in changes(program, actor=THEIRS)} == {None}
    assert "people.failed" in [getattr(record, "event", "") for record in caplog.records]


def test_changes_can_be_followed(program):
    """As the documentation recommends, also if one transaction ends after another that began later."""
    known: set[object] = set()
    last = NOON

    def new() -> list[object]:
        nonlocal last
        query = {"since": (last - timedelta(minutes=10)).isoformat(), "page_size": 2}
        read = [change for page in walk(program, "next", CHANGES, **query) for change in page["results"]]
        last = max([last, *(datetime.fromisoformat(change["recorded_at"]) for change in read)])
        found = [change["new_name"] for change in read if change["id"] not in known]
        known.update(change["id"] for change in read)
        return found

    first, second, late = (f"{REMOTE_ID[:-1]}{digit}" for digit in "123")
    for minute in range(20, 25):
        rename(first, f"First {minute}", minute=minute)
    assert new() == [f"First {minute}" for minute in range(24, 19, -1)]
    rename(late, "Late", minute=15)
    rename(second, "Second", minute=30)
    assert new() == ["Second", "Late"]
    assert new() == []


@pytest.mark.parametrize("path", [CHANGES, f"{LIST}{REMOTE_ID}/changes/"])
def test_page_costs_as_many_statements_however_many_changes_are_on_it(path, statements):
    reader, counted = APIClient(), []
    reader.force_authenticate(user_with("view_conversationchange"))
    for minute in (1, 2, 3):
        rename(REMOTE_ID, f"Name {minute}", minute=minute)
        with statements() as executed:
            assert len(reader.get(f"/orq{path}").json()["results"]) == minute
        counted.append(len([sql for sql in executed if "django_orq_" in sql and "auth_" not in sql]))

    assert counted == [2 if path == CHANGES else 3] * 3
