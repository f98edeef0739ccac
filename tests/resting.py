"""A client of the REST API over real sockets."""

from typing import Any

import requests
from django.contrib.auth.models import Permission, User

from django_orq.models import Conversation

LIST, CHANGES, RUNS = "/conversations/", "/changes/", "/sync-runs/"
"""Relative to the base URL of a `Program`."""
ERROR = {"code", "message", "remote_status"}
"""The keys of every error response."""
ALL = (
    "view_conversation",
    "add_conversation",
    "change_conversation",
    "delete_conversation",
    "view_conversationchange",
    "view_syncrun",
    "run_sync",
)


def page_of(row: Conversation) -> str:
    return f"{LIST}{row.remote_id}/"


def user_with(*permissions: str, name: str = "agent") -> User:
    user = User.objects.create_user(name, password="secret")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


class Program(requests.Session):
    """Sends requests to one base URL, with the name and password of a user if there is one."""

    def __init__(self, address: str, *, user: User | None = None) -> None:
        super().__init__()
        self.address = address
        self.trust_env = False
        if user is not None:
            self.auth = (user.username, "secret")

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        url = url if str(url).startswith("http") else self.address + url
        return super().request(method, url, *args, timeout=30, **options)


def error_of(response: requests.Response) -> dict[str, Any]:
    """The body of an error response, which has the same shape for all errors."""
    body = response.json()
    assert body.keys() >= ERROR
    assert all(isinstance(body[name], str) and body[name] for name in ("code", "message"))
    return body
