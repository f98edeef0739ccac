"""Runs work in threads that have their own connections."""

import threading
from collections.abc import Callable

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Start the work immediately."""

    def run() -> None:
        try:
            work()
        finally:
            disconnect()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def disconnect() -> None:
    """Close this thread's connections, also those to in-memory SQLite, which ``close`` leaves open."""
    for connection in connections.all(initialized_only=True):
        BaseDatabaseWrapper.close(connection)
