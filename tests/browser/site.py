"""The example project as its owner runs it: web server, worker, database and message folder, with a sandbox."""

import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from django_orq.sync.intervals import Interval, saved
from django_orq.testing import OrqSandbox

from ..programs import ROOT, environment, program, run, wait_until

HOST = "127.0.0.1"
LOGIN = ("admin", "admin")
VIEWER = ("viewer", "viewer")
_MAKE_VIEWER = """
from django.contrib.auth.models import Permission, User
user = User.objects.create_user("viewer", password="viewer", is_staff=True)
of_ours = Permission.objects.filter(content_type__app_label="django_orq")
user.user_permissions.set(of_ours.filter(codename__startswith="view_"))
"""
_TIMES_OF_RUNS = ("queued_at", "enqueued_at", "started_at", "checkpoint_at", "finished_at")
PATIENCE = {"READ_TIMEOUT": 2, "RETRIES": {"attempts": 1}}
"""Faults that delay a response need not delay a test for much longer."""

Row = Mapping[str, Any]


class Site:
    """One running site; ``folder`` has all files that it writes."""

    def __init__(
        self, folder: Path, *, sandbox: OrqSandbox, options: Mapping[str, Any] | None = None, theme: str = "stock"
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.theme = theme
        self.port = _free_port()
        workspace = {**sandbox.settings()["default"], **PATIENCE, **(options or {})}
        self._environment = environment() | {
            "DEMO_DIR": str(folder),
            "DJANGO_DEBUG": "1",  # what lets runserver serve the admin's static files
            "DJANGO_SECRET_KEY": secrets.token_hex(),
            "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
            "ORQ_THEME": theme,
            "ORQ_WORKSPACES": json.dumps({"default": workspace}),
            "PYTHONUNBUFFERED": "1",
        }
        self.login: Any = None
        """The browser's login state, once a browser has logged in."""
        self._believable = {each["_id"] for each in sandbox.conversations}
        self._pool: list[Row] = []
        self._groups: dict[int, list[str]] = {}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def prepare(self, template: Path | None = None) -> None:
        """Provide a migrated database with a superuser and a viewer: a copy of another site's, or a new one."""
        if template is not None:
            shutil.copy(template, self.database)
            return
        self.manage("migrate", "--no-input", "--verbosity=0")
        user, password = LOGIN
        self._environment["DJANGO_SUPERUSER_PASSWORD"] = password
        self.manage("createsuperuser", "--no-input", f"--username={user}", "--email=admin@example.com")
        self.manage("shell", "-v0", "-c", _MAKE_VIEWER)

    @contextmanager
    def serving(self) -> Iterator[None]:
        with ExitStack() as programs:
            web = self._start(programs, "web", "manage.py", "runserver", "--noreload", f"{HOST}:{self.port}")
            options = (
                "--concurrency=2",
                "--loglevel=INFO",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            )
            self._worker = worker = self._start(
                programs, "worker", "-m", "celery", "--app", "example_project", "worker", *options
            )
            assert wait_until(lambda: _listens(self.port)), web.text
            assert wait_until(lambda: " ready." in worker.text), worker.text
            yield

    @contextmanager
    def stopped_worker(self) -> Iterator[None]:
        """Until the block ends, the worker takes no message."""
        os.kill(self._worker.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._worker.process.pid, signal.SIGCONT)

    def manage(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a management command of the project; return its output."""
        return run(sys.executable, "manage.py", *words, cwd=ROOT, environment=self._environment, codes=codes)

    def fill(self) -> None:
        """Mirror the whole sandbox."""
        self.sync("--full")
        self._pool = [row for row in self.conversations() if row["remote_id"] in self._believable]

    def sync(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        return self.manage("orq_sync", *words, codes=codes)

    # The rows in the database, read without the ORM.

    @property
    def database(self) -> Path:
        return self.folder / "db.sqlite3"

    def rows(self, table: str, where: str = "1", *values: Any) -> list[Row]:
        """The rows, newest first."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY id DESC", values)  # noqa: S608 # ours
            return [dict(row) for row in found]

    def conversations(self, where: str = "1", *values: Any) -> list[Row]:
        return self.rows("django_orq_conversation", where, *values)

    def runs(self) -> list[Row]:
        return self.rows("django_orq_syncrun")

    def again(self, row: Row) -> Row:
        """This conversation's row, read again."""
        return self.conversations("id = ?", row["id"])[0]

    def history(self, row: Row) -> list[Row]:
        """The changes of a conversation that were requested here."""
        return self.rows("django_orq_conversationchange", "conversation_id = ? AND origin = 'here'", row["id"])

    def forget_waits(self) -> None:
        """End all waits that Orq asked for."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute("DELETE FROM django_orq_workspacewait")

    def age_runs(self, length: str) -> None:
        """Move all times of the runs back, such as by “2 hours”."""
        moved = ", ".join(f"{column} = datetime({column}, '-{length}')" for column in _TIMES_OF_RUNS)
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(f"UPDATE django_orq_syncrun SET {moved}")  # noqa: S608 # ours

    def set_intervals(self, intervals: list[Interval]) -> None:
        """Set those of the running run, which writes its own with its next page."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            columns = json.dumps(saved(intervals)), "running"
            connection.execute("UPDATE django_orq_syncrun SET intervals = ? WHERE state = ?", columns)

    @contextmanager
    def in_closed_workspace(self, *rows: Row) -> Iterator[None]:
        """Until the block ends, these rows are of a workspace that is not configured."""
        for workspace in ("closed", "default"):
            with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
                change = "UPDATE django_orq_conversation SET workspace = ? WHERE id = ?"
                connection.executemany(change, [(workspace, row["id"]) for row in rows])
            if workspace == "closed":
                yield

    def take(self) -> Row:
        """A conversation from the initial mirror that no other test uses."""
        return self._pool.pop()

    def add_groups(self, count: int, *, of: int) -> None:
        """Before the initial sync, add groups of conversations with a common word in their names."""
        words = [uuid.uuid4().hex[:8] for _ in range(count)]
        self._groups[of] = words
        for word in words:
            for number in range(of):
                self.sandbox.add(f"{word} {number:02}")

    def take_group(self, of: int) -> list[Row]:
        """A group that no other test uses."""
        return self.conversations("display_name LIKE ?", f"{self._groups[of].pop()} %")

    def mirror_new(self, *names: str) -> list[Row]:
        """Mirror conversations that another user has just created."""
        ids = [self.sandbox.add(name)["_id"] for name in names]
        self.sync()
        return [self.conversations("remote_id = ?", remote_id)[0] for remote_id in ids]

    def _start(self, programs: ExitStack, name: str, *words: str) -> Any:
        running = program(name, sys.executable, *words, folder=self.folder, environment=self._environment)
        return programs.enter_context(running)


@contextmanager
def held_requests(sandbox: OrqSandbox, operation: str) -> Iterator[threading.Event]:
    """Requests to Orq are held back until the block ends; the event is set once one has arrived."""
    arrived, released = threading.Event(), threading.Event()

    def hold(asked: str | None, phase: str) -> None:
        if (asked, phase) == (operation, "before"):
            arrived.set()
            released.wait(60)

    sandbox.on_request = hold
    try:
        yield arrived
    finally:
        released.set()
        sandbox.on_request = None


class Turnstile:
    """Lets a given number of list requests through."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(0)

    def hold(self, operation: str | None, phase: str) -> None:
        if (operation, phase) == ("list", "before"):
            self._turns.acquire(timeout=50)

    def let_through(self, count: int) -> None:
        self._turns.release(count)


@contextmanager
def turnstile(sandbox: OrqSandbox) -> Iterator[Turnstile]:
    """Holds requests to Orq back until the block ends."""
    turnstile = Turnstile()
    sandbox.on_request = turnstile.hold
    try:
        yield turnstile
    finally:
        sandbox.on_request = None
        turnstile.let_through(1000)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) == 0
