"""Work in threads of their own, each with its own connections."""

import threading
from collections.abc import Callable

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Start the work at once."""

    def run() -> None:
        try:
            work()
        finally:
            disconnect()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def disconnect() -> None:
    """Close this thread's connections, those to SQLite's memory too: their own ``close`` leaves them open."""
    for connection in connections.all(initialized_only=True):
        BaseDatabaseWrapper.close(connection)
