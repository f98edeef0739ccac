"""Queues to look into, and brokers out of reach."""

import socket
from contextlib import contextmanager


def messages(queue) -> list[tuple[str, list[object]]]:
    """What waits in a queue, taken out of it: names of tasks and their arguments."""
    found = []
    while queue.qsize():
        message = queue.get(block=False)
        arguments, _named, _embedded = message.payload
        found.append((message.headers["task"], arguments[:1]))  # without the ticket
        message.ack()
    return found


@contextmanager
def refusing_port():
    """Of 127.0.0.1, reserved by a socket that does not listen."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
