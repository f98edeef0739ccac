"""The sandbox of the benchmark, in a process of its own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from time import time_ns
from typing import Any

from django_orq.testing import OrqSandbox


class Remote(OrqSandbox):
    def rename_some(self) -> str:
        """Rename every hundredth conversation; return the digest of all."""
        name = f"Renamed at {time_ns()}"
        for conversation in self.conversations[::100]:
            self.rename(conversation["_id"], name)
        return digest((conversation["_id"], conversation["displayName"]) for conversation in self.conversations[::-1])


def digest(names: Iterable[tuple[str, str]]) -> str:
    """Return a checksum of ids and names, in the order of the ids."""
    checksum = blake2b(digest_size=16)
    for pair in names:
        checksum.update(repr(pair).encode())
    return checksum.hexdigest()


class _Manager(BaseManager):
    """Runs the sandbox in a new process and passes on calls of these methods."""


_Manager.register("Remote", Remote, exposed=("start", "settings", "count", "clear_requests", "rename_some"))


@contextmanager
def remote(*, conversations: int, latency: float) -> Iterator[Any]:
    """A running `Remote`. ``latency`` is in seconds."""
    with _Manager(ctx=get_context("spawn")) as manager:
        sandbox = manager.Remote(conversations=conversations, latency=latency)  # type: ignore[attr-defined] # registered above
        sandbox.start()
        yield sandbox
