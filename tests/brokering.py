"""Queues to inspect, and unreachable brokers."""

import socket
from contextlib import contextmanager


def messages(queue) -> list[tuple[str, list[object]]]:
    """Remove the messages from a queue; return task names and arguments."""
    found = []
    while queue.qsize():
        message = queue.get(block=False)
        arguments, _named, _embedded = message.payload
        found.append((message.headers["task"], arguments[:1]))  # without the ticket
        message.ack()
    return found


@contextmanager
def refusing_port():
    """A port of 127.0.0.1 that refuses connections: its socket does not listen."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
