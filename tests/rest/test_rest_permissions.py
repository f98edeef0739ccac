"""The permissions of the REST API: every method of every URL pattern."""

import itertools
from datetime import UTC, datetime

import pytest
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.test import Client
from django.urls import URLPattern
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.test import APIClient

from django_orq.models import Conversation, SyncRun
from django_orq.rest.urls import urlpatterns
from django_orq.store.reconcile import reconcile

from ..resting import ERROR, user_with
from ..values import REMOTE_ID, answer, conversation

pytestmark = pytest.mark.django_db
RUN = 1_000_000_000
"""The key of a run, far from those that the database gives."""
METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
WRITES = {"post", "put", "patch", "delete"}
READ = {
    "conversation": "view_conversation",
    "conversationchange": "view_conversationchange",
    "syncrun": "view_syncrun",
}
# What is demanded for writing, beside the permission to view, by the names of the patterns; a method that is not here
# is not offered.
WRITING = {
    ("conversation-list", "post"): "add_conversation",
    ("conversation-detail", "patch"): "change_conversation",
    ("conversation-detail", "delete"): "delete_conversation",
    ("conversation-refresh", "post"): "change_conversation",
    ("conversation-fetch", "post"): "add_conversation",
    ("syncrun-list", "post"): "run_sync",
    ("syncrun-pause", "post"): "run_sync",
    ("syncrun-resume", "post"): "run_sync",
    ("syncrun-approve", "post"): "run_sync",
    ("syncrun-cancel", "post"): "run_sync",
}
STOCK = {"post": "add", "put": "change", "patch": "change", "delete": "delete"}
EVERY = {f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in READ} | {"run_sync"}


def endpoints_of(patterns):
    return pytest.mark.parametrize(
        ("pattern", "method"),
        list(itertools.product(patterns, METHODS)),
        ids=lambda value: value.name if isinstance(value, URLPattern) else value,
    )


@pytest.fixture(autouse=True)
def rows():
    reconcile(answer(conversation()), workspace="default")
    SyncRun.objects.create(pk=RUN, workspace="default", mode="full", state="failed", finished_at=datetime.now(UTC))


def url_of(pattern: URLPattern) -> str:
    route = "/orq/" + str(pattern.pattern).lstrip("^").removesuffix("$").removesuffix("\\Z")
    return route.replace("(?P<remote_id>[^/]+)", REMOTE_ID).replace("(?P<pk>[^/]+)", str(RUN))


def demanded(pattern: URLPattern, method: str) -> str:
    """What is demanded beside the permission to view, or that one."""
    model = pattern.name.partition("-")[0]
    if (pattern.name, method) in WRITING or (model, method) == ("syncrun", "post"):
        return WRITING.get((pattern.name, method), "run_sync")
    return f"{STOCK[method]}_{model}" if method in WRITES else READ[model]


def all_demanded(pattern: URLPattern, method: str) -> set[str]:
    return {READ[pattern.name.partition("-")[0]], demanded(pattern, method)}


def ask(pattern: URLPattern, method: str, *permissions: str, name: str = "agent"):
    client = APIClient()
    client.force_authenticate(user_with(*permissions, name=name))
    return getattr(client, method)(url_of(pattern), {}, format="json")


def test_table_names_what_is_there():
    offered = {
        (pattern.name, method) for pattern in urlpatterns for method in pattern.callback.actions if method in WRITES
    }

    assert offered == WRITING.keys()
    assert {url_of(pattern) for pattern in urlpatterns} == {
        "/orq/conversations/",
        "/orq/conversations/fetch/",
        f"/orq/conversations/{REMOTE_ID}/",
        f"/orq/conversations/{REMOTE_ID}/refresh/",
        f"/orq/conversations/{REMOTE_ID}/changes/",
        "/orq/changes/",
        "/orq/sync-runs/",
        f"/orq/sync-runs/{RUN}/",
        *(f"/orq/sync-runs/{RUN}/{action}/" for action in ("pause", "resume", "approve", "cancel")),
    }


@endpoints_of(urlpatterns)
@pytest.mark.parametrize(
    ("authenticators", "status"), [((BasicAuthentication,), 401), ((SessionAuthentication,), 403)], ids=["401", "403"]
)
def test_anonymous_callers_are_refused(pattern, method, authenticators, status, monkeypatch):
    monkeypatch.setattr(pattern.callback.cls, "authentication_classes", authenticators)

    response = getattr(Client(), method)(url_of(pattern))

    assert response.status_code == status
    assert "WWW-Authenticate" in response.headers or status == 403
    assert method == "head" or response.json().keys() == ERROR
    assert Conversation.objects.get().state == "live"


@endpoints_of(urlpatterns)
def test_all_permissions_but_one_that_is_demanded_are_not_enough(pattern, method):
    for number, lacking in enumerate(all_demanded(pattern, method)):
        response = ask(pattern, method, *(EVERY - {lacking}), name=f"agent {number}")

        assert response.status_code == 403
        assert method == "head" or response.json()["code"] == "permission_denied"


@endpoints_of(urlpatterns)
def test_the_permissions_demanded_are_enough(pattern, method, settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": "key", "BASE_URL": "http://127.0.0.1:9"}}

    response = ask(pattern, method, *all_demanded(pattern, method))

    offered = method == "options" or method in pattern.callback.actions or (method == "head" and is_read(pattern))
    assert (response.status_code == 405) is not offered
    assert response.status_code not in (401, 403)


def is_read(pattern: URLPattern) -> bool:
    return "get" in pattern.callback.actions


def test_who_may_not_ask_learns_nothing_of_workspaces():
    client = APIClient()
    client.force_authenticate(user_with())

    answers = [client.get("/orq/conversations/", {"workspace": name}) for name in ("default", "nowhere")]

    assert [response.status_code for response in answers] == [403, 403]


@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda pattern: pattern.name)
def test_no_view_is_called_within_a_transaction(pattern, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    assert BaseHandler().make_view_atomic(pattern.callback) is pattern.callback
