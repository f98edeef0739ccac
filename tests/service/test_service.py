"""The operations in each API style, invalid arguments, and iteration over pages."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from django_orq.conf import RetryConfig
from django_orq.exceptions import (
    APIError,
    ConversationNotFound,
    CursorIgnored,
    InvalidName,
    MalformedResponse,
    TransportError,
)
from django_orq.service import ConversationService
from django_orq.testing import OrqSandbox

ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"


@pytest.fixture
def service(orq_sandbox: OrqSandbox) -> Iterator[ConversationService]:
    with ConversationService(api_key="sandbox-key", base_url=orq_sandbox.base_url) as service:
        yield service


@pytest.fixture
def camel() -> Iterator[OrqSandbox]:
    with OrqSandbox(style="camel") as sandbox:
        yield sandbox


def fill(sandbox: OrqSandbox, count: int) -> list[str]:
    """Add conversations; return their ids, newest first."""
    return [sandbox.add(display_name=f"Order {number}")["_id"] for number in range(count)][::-1]


# Arguments


@pytest.mark.parametrize("limit", [0, -1, 101, True, 10.0, "10", None])
def test_limit_outside_of_1_to_100_is_refused_unsent(orq_sandbox, service, limit):
    with pytest.raises(ValueError, match="1 to 100"):
        service.list(limit=limit)
    assert orq_sandbox.count() == 0


@pytest.mark.parametrize("cursor", ["starting_after", "ending_before"])
def test_empty_cursor_is_refused_unsent(orq_sandbox, service, cursor):
    with pytest.raises(ValueError, match="must not be empty"):
        service.list(**{cursor: ""})
    assert orq_sandbox.count() == 0


@pytest.mark.parametrize("conversation_id", ["", ".", "..", None, 5])
def test_id_that_is_no_path_segment_is_refused_unsent(orq_sandbox, service, conversation_id):
    for call in (service.retrieve, service.update, service.delete):
        with pytest.raises(ValueError, match="conversation_id"):
            call(conversation_id=conversation_id)
    assert orq_sandbox.count() == 0


@pytest.mark.parametrize(
    "conversation_id", ["../agents", "a/b", "a?limit=1", "a#b", "a%2Fb", "a b", "ключ", "./", "a\r\nX: y"]
)
def test_odd_id_stays_one_segment_of_the_path(orq_sandbox, service, conversation_id):
    with pytest.raises(ConversationNotFound):
        service.delete(conversation_id=conversation_id)
    [request] = orq_sandbox.requests
    assert (request.operation, request.path.count("/"), request.query) == ("delete", 3, {})


@pytest.mark.parametrize("display_name", ["", "   ", "x" * 101, "two\nlines", "half \ud800 a pair", "NUL\0"])
def test_name_that_orq_would_refuse_is_refused_unsent(orq_sandbox, service, display_name):
    with pytest.raises(InvalidName):
        service.create(display_name=display_name)
    with pytest.raises(InvalidName):
        service.update(conversation_id=ABSENT, display_name=display_name)
    assert orq_sandbox.count() == 0


@pytest.mark.parametrize("base_url", ["", "orq.ai", "ftp://orq.ai", "https://user:secret@orq.ai", None])
def test_base_url_that_is_none_is_refused(base_url):
    with pytest.raises(ValueError, match="base_url"):
        ConversationService(api_key="k", base_url=base_url)


def test_unknown_api_style_is_refused():
    with pytest.raises(ValueError, match="'snake', 'camel'"):
        ConversationService(api_key="k", api_style="kebab")


def test_base_url_may_end_in_a_slash_and_have_a_path():
    with OrqSandbox() as sandbox:
        service = ConversationService(api_key="sandbox-key", base_url=sandbox.base_url + "/gateway/")
        with service, pytest.raises(APIError):
            service.list()
        assert sandbox.requests[0].path == "/gateway/v2/conversations"


# 404


@pytest.mark.parametrize("operation", ["list", "create"])
def test_404_without_an_id_is_about_the_address(orq_sandbox, service, operation):
    orq_sandbox.fail(operation, status=404, body="<h1>Not found")
    call = service.list if operation == "list" else lambda: service.create(display_name="Parcel")
    with pytest.raises(APIError, match=r"BASE_URL.*API_STYLE") as caught:
        call()
    assert type(caught.value) is APIError
    assert caught.value.status == 404


def test_404_for_a_cursor_is_about_the_cursor(orq_sandbox, service):
    with pytest.raises(APIError, match="may have been deleted"):
        service.list(starting_after=ABSENT)


# The last dialect


def test_camel_style_speaks_the_last_dialect(camel):
    first = camel.add()["_id"]
    service = ConversationService(
        api_key="sandbox-key", base_url=camel.base_url, api_style="camel", project_id="project-7"
    )
    with service:
        created = service.create(display_name="Parcel").remote_id
        assert service.list(limit=1).ids == [created]
        assert service.list(starting_after=created).ids == [first]
        assert service.list(ending_before=first).ids == [created]
        assert service.update(conversation_id=created, display_name="Letter").display_name == "Letter"
        assert service.retrieve(conversation_id=created).display_name == "Letter"
        service.delete(conversation_id=created)
    requests = camel.requests
    assert [request.path for request in requests[:2]] == ["/v2/conversations", "/v2/conversations/"]
    assert requests[0].body == {"displayName": "Parcel", "projectId": "project-7"}
    assert requests[2].query == {"limit": "10", "startingAfter": created}
    assert requests[3].query == {"limit": "10", "endingBefore": first}


def test_snake_style_sends_no_project(orq_sandbox):
    service = ConversationService(api_key="sandbox-key", base_url=orq_sandbox.base_url, project_id="project-7")
    with service:
        service.create(display_name="Parcel")
    assert orq_sandbox.requests[0].body == {"displayName": "Parcel"}


# Pages


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_iterate_gives_all_pages_newest_first(orq_sandbox, service, count, sizes):
    ids = fill(orq_sandbox, count)
    pages = list(service.iterate(limit=4))
    assert [len(page.ids) for page in pages] == sizes
    assert [remote_id for page in pages for remote_id in page.ids] == ids
    assert orq_sandbox.count("list") == len(sizes)


def test_iterate_goes_on_from_a_cursor(orq_sandbox, service):
    ids = fill(orq_sandbox, 5)
    pages = service.iterate(limit=2, starting_after=ids[1])
    assert [page.ids for page in pages] == [ids[2:4], ids[4:]]


def test_iterate_stops_where_the_server_ignores_the_cursor(orq_sandbox, service):
    fill(orq_sandbox, 5)
    orq_sandbox.ignore_cursor = True
    pages = service.iterate(limit=2)
    next(pages)
    with pytest.raises(CursorIgnored, match="API_STYLE"):
        next(pages)
    assert orq_sandbox.count("list") == 2


def test_iterate_stops_where_pages_go_in_a_circle(orq_sandbox, service):
    newer, older = fill(orq_sandbox, 2)
    items = {remote_id: orq_sandbox.get(remote_id) for remote_id in (newer, older)}

    def swap(page: dict[str, Any]) -> dict[str, Any]:
        return {"data": [items[older], items[newer]], "has_more": True}

    orq_sandbox.transform_list = swap
    pages = service.iterate()
    next(pages)
    with pytest.raises(CursorIgnored, match="API_STYLE"):
        list(pages)
    assert orq_sandbox.count("list") == 2


@pytest.mark.parametrize("items", [[], [{"_id": "strange"}]], ids=["empty", "without a well-formed id"])
def test_iterate_stops_where_there_is_no_id_to_go_on_from(orq_sandbox, service, items):
    orq_sandbox.transform_list = lambda page: {"data": items, "has_more": True}
    pages = service.iterate()
    next(pages)
    with pytest.raises(MalformedResponse, match="no id to continue from"):
        next(pages)


def test_iterate_ends_with_an_empty_page(orq_sandbox, service):
    ids = fill(orq_sandbox, 2)
    orq_sandbox.transform_list = lambda page: page | {"has_more": bool(page["data"])}
    assert [page.ids for page in service.iterate(limit=2)] == [ids, []]


# By workspace


def test_for_workspace_takes_all_options():
    with OrqSandbox(style="camel") as sandbox:
        options = {"PROJECT_ID": "project-7", "RETRIES": {"attempts": 2, "initial_interval": 0.01}}
        workspaces = {"shop": sandbox.settings()["default"] | options}
        sandbox.fail("list", status=503, times=None)
        with override_settings(ORQ_WORKSPACES=workspaces), ConversationService.for_workspace("shop") as service:
            service.create(display_name="Parcel")
            with pytest.raises(APIError):
                service.list()
        assert sandbox.requests[0].body["projectId"] == "project-7"
        assert sandbox.count("list") == 2


def test_interactive_makes_one_attempt(orq_sandbox):
    orq_sandbox.fail("list", drop="before")
    with (
        override_settings(ORQ_WORKSPACES=orq_sandbox.settings()),
        ConversationService.for_workspace(interactive=True) as service,
        pytest.raises(TransportError),
    ):
        service.list()
    assert orq_sandbox.count() == 1


def test_timeouts_of_the_workspace_are_used(orq_sandbox):
    orq_sandbox.latency = 5
    options = {"READ_TIMEOUT": 0.1, "RETRIES": RetryConfig(attempts=1)}
    workspaces = {"default": orq_sandbox.settings()["default"] | options}
    with (
        override_settings(ORQ_WORKSPACES=workspaces),
        ConversationService.for_workspace() as service,
        pytest.raises(TransportError, match="timed out"),
    ):
        service.list()


def test_create_takes_a_200_for_a_201(orq_sandbox, service):
    orq_sandbox.fail("create", status=200, body=json.dumps(orq_sandbox.add(display_name="Parcel")))
    assert service.create(display_name="Parcel").display_name == "Parcel"
