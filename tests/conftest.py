import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import settings

from django_orq.models import Conversation
from django_orq.sync import batches, claim, runs
from django_orq.testing import OrqSandbox

from .celery import app
from .resting import ALL, Program, user_with
from .walking import configure, fill, full_run

settings.register_profile("any machine", deadline=None)  # how long an example takes says more of the machine
settings.load_profile("any machine")

_ANY_DATABASE = {
    "test_checks",
    "test_commands",
    "test_conf",
    "test_databases",
    "test_documentation",
    "test_example_project",
    "test_layers",
    "test_payloads",
    "test_promises",
    "test_public_api",
    "test_rest_permissions",
    "test_rest_schema",
    "test_sandbox",
    "test_service",
    "test_transport",
    "test_troubleshooting",
    "test_vendor_operations",
}
"""Modules that use no database, or their own, or nothing that depends on which database it is."""
_LONG = {"test_databases", "test_rest_settings"}
"""Modules whose tests run others. They start first, as do those marked ``volume``, so that nothing waits for them."""
_TRANSACTION_CONTROL = re.compile(r"(BEGIN|SAVEPOINT|RELEASE|ROLLBACK|COMMIT|SET )")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in _ANY_DATABASE:
            item.add_marker("any_database")
        if item.path.stem == "test_documentation":
            item.add_marker("documentation")
    items.sort(key=lambda item: not (item.path.stem in _LONG or item.get_closest_marker("volume")))


@pytest.fixture
def remote(settings, orq_sandbox: OrqSandbox) -> OrqSandbox:
    """A running sandbox for which the workspace ``default`` is configured, without retries."""
    options = orq_sandbox.settings()["default"]
    settings.ORQ_WORKSPACES = {"default": options | {"RETRIES": {"attempts": 1}}}
    return orq_sandbox


@pytest.fixture
def rows(remote):
    """Three mirrored conversations, newest first; the requests for them are not counted."""
    for name in ("One", "Two", "Three"):
        remote.add(name)
    full_run()
    remote.clear_requests()
    return list(Conversation.objects.order_by("-remote_id"))


@pytest.fixture
def page_by_page(monkeypatch) -> None:
    """Each page is a batch of its own, with its own checkpoint."""
    monkeypatch.setattr(batches, "MAX_PAGES", 1)
    monkeypatch.setattr(claim, "SECONDS_BETWEEN_CHECKPOINTS", 0)


@pytest.fixture
def four_pages(remote, settings, page_by_page) -> None:
    """35 conversations, in pages of ten, each of which is a batch."""
    configure(settings, PAGE_SIZE=10)
    fill(remote, 35)


@pytest.fixture
def one_run_is_kept(monkeypatch) -> None:
    """One run is kept of those that changed something, and one of those that changed nothing."""
    monkeypatch.setattr(runs, "KEPT", 1)
    monkeypatch.setattr(runs, "KEPT_UNCHANGED", 1)


@pytest.fixture
def program(remote, live_server, transactional_db) -> Iterator[Program]:
    """A REST client that has all permissions."""
    with Program(f"{live_server.url}/orq", user=user_with(*ALL)) as program:
        yield program


@pytest.fixture
def queue():
    """The default queue of an in-memory broker, empty before and after the test."""
    with app.connection_for_write() as connection, connection.SimpleQueue("celery") as queue:
        queue.clear()
        yield queue
        queue.clear()


class Statements(list[str]):
    """The SQL statements of a block, in order; complete when it ends, countable while it runs."""

    def __init__(self, queries: CaptureQueriesContext) -> None:
        super().__init__()
        self._queries = queries

    def so_far(self) -> int:
        return len(self._statements())

    def fill(self) -> None:
        self += self._statements()

    def _statements(self) -> list[str]:
        executed = (query["sql"] for query in self._queries.captured_queries)
        return [sql for sql in executed if not _TRANSACTION_CONTROL.match(sql)]


@pytest.fixture
def statements() -> Callable[[], AbstractContextManager[Statements]]:
    """Collects the SQL statements of a block, except those that control transactions."""

    @contextmanager
    def capture() -> Iterator[Statements]:
        with CaptureQueriesContext(connection) as queries:
            collected = Statements(queries)
            yield collected
        collected.fill()

    return capture
