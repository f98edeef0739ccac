"""The admin's list over a small and a large mirror on PostgreSQL: prints the times as one line of JSON.

    {"small": {"the list": …, …}, "large": {…}}

Each is the shortest of some requests, in seconds, so that other work of the machine counts little.
`DATABASE_URL` names the server; the mirrors are in a test database of their own there, which is made
and dropped.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.test import Client
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

SMALL, LARGE = 1_000, 1_000_000
REPEATS = 15
QUERIES = {
    "the list": "",
    "its ninth page": "?p=9",
    "filter: this week": "?created=week",
    "filter: missing": "?state=missing",
    "search by id": "?q=conv_01",
    "search by name": "?q=conversation+77",
}


def measure() -> dict[str, dict[str, float]]:
    with test_database():
        return {"small": times_at(SMALL), "large": times_at(LARGE)}


def times_at(rows: int) -> dict[str, float]:
    from django.contrib.auth.models import User  # noqa: PLC0415 # Django must be set up first

    from tests.scale import Shares, fill  # noqa: PLC0415

    fill(rows, Shares(missing="n % 5 = 1", deleted="n % 10 = 2"))
    client = Client()
    client.force_login(User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)[0])
    return {name: shortest_of(client, query) for name, query in QUERIES.items()}


def shortest_of(client: Client, query: str) -> float:
    return min(seconds_for(client, query) for _ in range(REPEATS))


def seconds_for(client: Client, query: str) -> float:
    started = time.perf_counter()
    response = client.get(f"/admin/django_orq/conversation/{query}")
    seconds = time.perf_counter() - started
    if response.status_code != 200:
        raise RuntimeError(f"{query} was answered with {response.status_code}")
    return seconds


@contextmanager
def test_database() -> Iterator[None]:
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        teardown_databases(databases, verbosity=0)


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps(measure()) + "\n")
