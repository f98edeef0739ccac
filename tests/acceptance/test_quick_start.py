"""The quick start, followed exactly, with the built wheel, PostgreSQL and Redis."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest
import requests

from ..documentation import Block, blocks_of, commands_of
from ..programs import environment
from .terminals import Terminal

PAGE = "docs/quick-start.md"
PORTS = ("8000", "8900")
"""The ports on the page; a free one replaces any that is in use."""
ADMIN = ("admin", "admin")
DATABASE = "orq_trial"


class Reader:
    """Follows the page in an empty folder, with a terminal for each block that needs its own."""

    def __init__(self, folder: Path, stack: ExitStack, *, wheel: Path, logs: Path, transcript: TextIO) -> None:
        self._project = folder / "orq-trial"
        self._wheel = wheel
        self._stack = stack
        self._transcript = transcript
        self._options: dict[str, Any] = {
            "folder": folder,
            "environment": _environment(),
            "logs": logs,
            "transcript": transcript,
        }
        self._servers: list[Terminal] = []
        self._first = self._terminal("terminal 1")
        self._ports = {port: _free_port(int(port)) for port in PORTS}

    @property
    def site(self) -> str:
        return f"http://127.0.0.1:{self._ports['8000']}"

    def follow(self, block: Block) -> None:
        for port, free in self._ports.items():
            block = replace(block, text=block.text.replace(port, free))
        if block.language == "console":  # the wheel to be tested, whatever is released under this name
            block = replace(block, text=block.text.replace(" django-orq ", f" {self._wheel} "))
        if block.file:
            with (self._project / block.file).open("a") as file:
                file.write(f"\n{block.text}")
            self._transcript.write(f"[{block.file} gets]\n{block.text}")
        elif block.mark == "terminal":
            self._start_server(block)
        else:
            for command in commands_of(block.text):
                output = self._first.run(command.text)
                assert command.is_answered_by(output), f"{command.text} said\n{output}"

    def end(self) -> None:
        """Press Ctrl-C in every terminal but the first, in reverse order."""
        while self._servers:
            self._servers.pop().press_control_c()

    def _start_server(self, block: Block) -> None:
        terminal = self._terminal(f"terminal {len(self._servers) + 2}")
        *before, server = commands_of(block.text)
        for command in before:
            terminal.run(command.text)
        terminal.start(server.text, ready=block.reason)
        self._servers.append(terminal)

    def _terminal(self, name: str) -> Terminal:
        terminal = Terminal(name, **self._options)
        self._stack.callback(terminal.kill)
        return terminal


def _free_port(port: int) -> str:
    """This port, or another if it is in use."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def reader(wheel, tmp_path) -> Iterator[Reader]:
    """In an empty folder, with the built wheel in place of the released one."""
    transcript = os.environ.get("ORQ_QUICK_START")
    if not transcript:
        pytest.skip("needs PostgreSQL and Redis on loopback, and ORQ_QUICK_START: see .ci/run, which tests it")
    folder, logs = tmp_path / "empty", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    with ExitStack() as stack, Path(transcript).open("w") as file:
        yield Reader(folder, stack, wheel=wheel, logs=logs, transcript=file)


@pytest.fixture
def no_database() -> Iterator[None]:
    """The page creates its database; it must not exist before, and is dropped even if the test fails."""
    named = _postgresql(
        "psql", "--no-psqlrc", "--tuples-only", "--command=SELECT datname FROM pg_database", "postgres"
    )
    assert DATABASE not in named.split(), f"there is a database {DATABASE} already"
    yield
    _postgresql("dropdb", "--if-exists", "--force", DATABASE)


def _postgresql(program: str, *words: str) -> str:
    command = [program, "--host=127.0.0.1", "--username=django_orq", *words]
    environment = os.environ | {"PGPASSWORD": "django_orq"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 # ours


def _environment() -> dict[str, str]:
    """The environment of a user of this Python, without a proxy for local addresses."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return environment() | own


def test_newcomer_gets_from_an_empty_folder_to_a_scheduled_sync(reader, no_database, tmp_path):
    *before, clean_up = blocks_of(PAGE)
    for block in before:
        reader.follow(block)
    assert_admin_has(reader.site, "Parcel found", of=2501)
    reader.end()
    reader.follow(clean_up)
    assert list((tmp_path / "empty").iterdir()) == []


def assert_admin_has(site: str, name: str, *, of: int) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        login = browser.get(f"{site}/admin/", timeout=20)
        form = {
            "username": ADMIN[0],
            "password": ADMIN[1],
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "next": "/admin/django_orq/conversation/",
        }
        page = browser.post(login.url, data=form, timeout=20).text
    assert name in page
    assert re.search(rf"\b{of} conversations\b", page)
