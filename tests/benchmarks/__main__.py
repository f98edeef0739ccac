"""Compares our full sync with three loops that do the same work, on the database that DATABASE_URL names.

Without it, or if it names an SQLite file, that is an SQLite file in a temporary folder. On a server, a database with
"test_" before that name is created, and destroyed in the end. The sandbox runs in a process of its own, and each sync
in a new one. On PostgreSQL, the lists of the admin and the REST API are measured as well.

The exit code is 1 if a number is wrong that does not depend on the machine: list requests, rows, rows written,
statements per batch, growth of memory. How long a sync takes is only shown.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from . import checks, lists
from .measurements import OURS, Measurement, Size, measure
from .processes import run, say
from .report import tables


def main() -> int:
    options = parse_arguments()
    sizes = [Size(conversations=count, latency=wait) for count in options.conversations for wait in options.latency]
    with temporary_database() as (environment, server):
        measured = [one for size in sizes for one in measure(size, environment, repeat=options.repeat)]
        problems = [*checks.problems(measured), *check_growth(options.few, measured, environment)]
    versions = f"{server}, Python {platform.python_version()}, {os.cpu_count()} CPUs"
    say(f"\n{versions}, medians of {options.repeat}. {tables(measured)}")
    problems += lists.problems(
        environment | {"DJANGO_SETTINGS_MODULE": "tests.settings"}, large=100_000 if options.small else 1_000_000
    )
    for problem in problems:
        say(f"FAILED: {problem}")
    return bool(problems)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--small", action="store_true", help="the checks: 3,000 conversations, no latency, once; lists of 100,000"
    )
    parser.add_argument("--conversations", type=int, nargs="+", metavar="N", help="default: 10000 100000")
    parser.add_argument("--latency", type=int, nargs="+", metavar="MS", help="of the sandbox, default: 0 50")
    parser.add_argument("--repeat", type=int, metavar="N", help="times that each sync is measured, default: 5")
    options = parser.parse_args()
    conversations, latency, repeat = ([3_000], [0], 1) if options.small else ([10_000, 100_000], [0, 50], 5)
    options.conversations = options.conversations or conversations
    options.latency = options.latency or latency
    options.repeat = options.repeat or repeat
    options.few = max(options.conversations) // (1 if options.small else 10)
    return options


@contextmanager
def temporary_database() -> Iterator[tuple[dict[str, str], str]]:
    """The environment of the measured processes, and the name and version of the database server."""
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("DATABASE_URL", "")
        if not url or url.startswith("sqlite"):
            url = f"sqlite:///{folder}/benchmark.sqlite3"
        environment = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings"}
        server = run("database", "create", **environment)
        try:
            yield environment, server
        finally:
            run("database", "destroy", **environment)


def check_growth(few: int, measured: list[Measurement], environment: Mapping[str, str]) -> Iterator[str]:
    """Compare the memory of our syncs of so many conversations and of ten times as many."""
    both = []
    for conversations in (few, 10 * few):
        known = [one for one in measured if one.size.conversations == conversations]
        if not known:
            known = list(measure(Size(conversations=conversations, latency=0), environment, contestants=[OURS]))
            yield from checks.problems(known)
        both.append(known)
    yield from checks.growth_problems(*both)


if __name__ == "__main__":
    sys.exit(main())
