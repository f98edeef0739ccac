"""Run a sandbox of the Orq.ai conversations API until Ctrl-C or SIGTERM."""

import argparse
import errno
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from .sandbox import OrqSandbox

MAX_CONVERSATIONS = 10_000_000
MAX_LATENCY = 3600.0
"""Seconds."""
Number = TypeVar("Number", int, float)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m django_orq.testing", description=__doc__)
    parser.add_argument("--port", type=_between(int, 0, 65_535), default=8900, help="0 chooses a free port")
    parser.add_argument("--conversations", type=_between(int, 0, MAX_CONVERSATIONS), default=2500)
    parser.add_argument("--key", type=_key, default="sandbox-key", help="the API key that is accepted")
    parser.add_argument("--style", choices=["snake", "camel"], default="snake")
    parser.add_argument(
        "--latency", type=_between(float, 0, MAX_LATENCY), default=0.0, help="seconds before each answer"
    )
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def _between(kind: type[Number], least: float, most: float) -> Callable[[str], Number]:
    """Return an argument type for numbers from ``least`` to ``most``."""

    def parse(text: str) -> Number:
        number = kind(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be from {least:,} to {most:,}")
        return number

    parse.__name__ = kind.__name__  # argparse shows it if the text is not a number
    return parse


def _key(text: str) -> str:
    if not (text and text.isascii() and text.isprintable()) or text != text.strip():
        raise argparse.ArgumentTypeError("must be printable ASCII without surrounding spaces")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal arrives; return the exit code."""
    arguments = parse_arguments(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    sandbox = OrqSandbox(
        conversations=arguments.conversations,
        api_key=arguments.key,
        style=arguments.style,
        port=arguments.port,
        latency=arguments.latency,
        seed=arguments.seed,
    )
    try:
        sandbox.start()
    except OSError as error:
        sys.stderr.write(_explain(error, arguments.port))
        return 1
    sys.stdout.write(
        f"Orq sandbox on {sandbox.base_url} with {len(sandbox):,} conversations, API key: {arguments.key}\n"
    )
    sys.stdout.flush()
    stopped.wait()
    sandbox.stop()
    return 0


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use. Choose another one with --port.\n"
    return f"Cannot listen on port {port}: {error.strerror}.\n"


if __name__ == "__main__":
    sys.exit(main())
