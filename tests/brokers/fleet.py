"""Worker, beat and commands in separate processes that share a database, a broker and a sandbox with a test."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from celery import Celery
from django.db import connection

from ..programs import Program, environment, program, wait_until

CELERY = (sys.executable, "-m", "celery", "--app", "tests.brokers.celery")


class Fleet:
    """Programs that work on ``workspaces`` (a value for the setting ORQ_WORKSPACES) and use one queue."""

    def __init__(self, folder: Path, *, broker: str, queue: str, workspaces: Mapping[str, Any]) -> None:
        self.folder = folder
        self._queue = queue
        self._environment = environment() | {
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "tests.brokers.settings",
            "ORQ_BROKER": broker,
            "ORQ_QUEUE": queue,
            "ORQ_WORKSPACES": json.dumps(workspaces),
            "PYTHONUNBUFFERED": "1",
        }

    @contextmanager
    def worker(self) -> Iterator[Program]:
        """A worker with two prefork children, ready when the block begins."""
        options = ("--concurrency=2", "--loglevel=INFO", "--without-gossip", "--without-mingle", "--without-heartbeat")
        with self.program("worker", *CELERY, "worker", *options) as worker:
            assert wait_until(lambda: " ready." in worker.text), worker.text
            yield worker

    def beat(self) -> Any:
        return self.program("beat", *CELERY, "beat", "--loglevel=INFO", f"--schedule={self.folder / 'schedule'}")

    def command(self, *words: str) -> Any:
        return self.program("-".join(words), sys.executable, "-m", "django", *words)

    def program(self, name: str, *command: str) -> Any:
        return program(name, *command, folder=self.folder, environment=self._environment)


class Broker:
    """One queue on a broker; ``remove`` deletes it with everything that belongs to it."""

    def __init__(self, url: str, *, queue: str) -> None:
        self.url = url
        self.queue = queue
        self.is_redis = url.startswith("redis:")
        self._app = Celery("tests.brokers.sender", broker=url, set_as_current=False)
        self._app.conf.task_default_queue = queue
        if self.is_redis:
            self._app.conf.broker_transport_options = {"global_keyprefix": f"{queue}:"}

    def send(self, task: str, *arguments: Any, **options: Any) -> None:
        with self._app.connection_for_write() as connection_:
            self._app.send_task(task, arguments, connection=connection_, ignore_result=True, **options)

    def messages(self) -> int:
        """The number of messages in the queue."""
        if self.is_redis:
            with self._redis() as client:
                return client.llen(f"{self.queue}:{self.queue}")
        with self._app.connection_for_write() as connection_, connection_.SimpleQueue(self.queue) as queue:
            return queue.qsize()

    def remove(self) -> None:
        if self.is_redis:
            with self._redis() as client:
                for key in client.scan_iter(f"{self.queue}:*"):
                    client.delete(key)
            return
        with self._app.connection_for_write() as connection_:
            connection_.default_channel.queue_delete(self.queue)
            connection_.default_channel.exchange_delete(self.queue)

    def _redis(self) -> Any:
        import redis  # noqa: PLC0415 # there with `make brokers` alone

        return redis.Redis.from_url(self.url)


def database_url() -> str:
    """The database of the current test."""
    database = connection.settings_dict
    user = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}"
    return f"postgres://{user}@{database['HOST']}:{database['PORT'] or 5432}/{quote(database['NAME'])}"


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
