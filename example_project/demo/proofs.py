"""What `make demo CHECK=1` proves, over HTTP alone: as a browser at the admin, as somebody at Orq."""

import html
import json
import re
import time
import urllib.request
import uuid
from collections.abc import Iterator
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from .children import Children, DemoFailed
from .session import can_be_run, run_session

TIMEOUT = 20.0
ARRIVAL = 90.0
"""Seconds within which a conversation created at Orq must be in the admin."""


class Browser:
    """Asks one address of this machine, keeps its cookies, and knows no proxy."""

    def __init__(self, address: str, *, headers: dict[str, str] | None = None) -> None:
        self.address = address
        self._headers = headers or {}
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(self._cookies),
        )

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> str:
        """The body of the answer, POSTed for if there is a ``body``; ``DemoFailed`` without one."""
        url = self.address + path
        request = urllib.request.Request(  # noqa: S310  # always http on loopback
            url, data=body, headers=self._headers | headers
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return str(answer.read().decode())
        except (OSError, ValueError) as error:
            raise DemoFailed(f"{request.get_method()} {url} failed: {error}") from None

    def cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == name), "")

    def answers(self) -> bool:
        """Whether a server is there, whatever it says."""
        try:
            self._opener.open(self.address, timeout=TIMEOUT).close()
        except HTTPError as refusal:
            refusal.close()
        except (URLError, OSError):
            return False
        return True


def prove(children: Children, *, site: Browser, sandbox: Browser, login: tuple[str, str], count: int) -> Iterator[str]:
    """One line for each thing proved; ``DemoFailed`` for the first that does not hold."""
    _log_in(site, *login)
    yield "the admin lets its user in"
    newest = json.loads(sandbox.ask("/v2/conversations?limit=5"))["data"]
    _find_all(site, newest, count)
    yield f"it lists {count:,} conversations, with the newest ones of the sandbox on its first page"
    name = f"Created at Orq by somebody else, {uuid.uuid4().hex[:8]}"
    sandbox.ask(
        "/v2/conversations",
        json.dumps({"displayName": name}).encode(),
        **{"Content-Type": "application/json"},
    )
    seconds = _await_arrival(children, site, name)
    yield f"a conversation created remotely came through beat and worker within {seconds:.1f} s"
    if can_be_run():
        yield f"the README's session with curl works: {run_session(site.address)} lines"
    else:
        yield "the README's session was left out, for there is no curl or no bash here"


def conversations_page(site: Browser, **query: str) -> str:
    return site.ask(f"/admin/django_orq/conversation/?{urlencode(query)}")


def _log_in(site: Browser, username: str, password: str) -> None:
    path = "/admin/login/?next=/admin/"
    site.ask(path)
    form = {
        "username": username,
        "password": password,
        "csrfmiddlewaretoken": site.cookie("csrftoken"),
    }
    site.ask(path, urlencode(form).encode(), Referer=site.address + path)
    if not site.cookie("sessionid"):
        raise DemoFailed(f"The admin did not let {username!r} in.")


def _find_all(site: Browser, newest: list[dict[str, Any]], count: int) -> None:
    page = conversations_page(site)
    if not re.search(rf"\b{count} conversations\b", page):
        raise DemoFailed(f"The admin's list does not say that there are {count} conversations.")
    for conversation in newest:
        if not _lists(page, conversation["displayName"]):
            raise DemoFailed(f"The admin's list lacks {conversation['_id']}, one of the newest.")


def _await_arrival(children: Children, site: Browser, name: str) -> float:
    started = time.monotonic()
    # The search box repeats what was searched for, so a part of the name is.
    while not _lists(conversations_page(site, q=name.rpartition(" ")[2]), name):
        if time.monotonic() - started > ARRIVAL:
            raise DemoFailed(f"A conversation created remotely was not in the admin after {ARRIVAL:.0f} s.")
        children.wait(0.5)
    return time.monotonic() - started


def _lists(page: str, name: str) -> bool:
    return name in html.unescape(page)
