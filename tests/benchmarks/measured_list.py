"""Measures the admin and REST lists of a small and a large mirror on PostgreSQL; prints one line of JSON.

    {"small": {"the list": …, …}, "large": {…}}

Each time is the shortest of several requests, in seconds, so that other load on the machine matters
little. `DATABASE_URL` names the server; the mirrors are in a test database, which is created and
dropped.
"""

import json
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import django
from django.test import Client
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

SMALL, LARGE = 1_000, 1_000_000
SEARCH = "search by name"
"""Reads up to 100,000 names, so it takes longer in a large mirror."""
REPEATS = 15
ADMIN, REST = "/admin/django_orq/", "/orq/conversations/?page_size=100"
LIST = f"{ADMIN}conversation/"
COMPLETE = "/admin/autocomplete/?app_label=references&model_name=reference&field_name=conversation"
URLS = {
    "the list": LIST,
    "its ninth page": f"{LIST}?p=9",
    "oldest first": f"{LIST}?o=2",
    "filter: past 7 days": f"{LIST}?created=7",
    "filter: live": f"{LIST}?state=live",
    "filter: unlisted": f"{LIST}?state=unlisted",
    "filter: missing": f"{LIST}?state=missing",
    "filter: deleted": f"{LIST}?state=deleted",
    "filter: any, past year": f"{LIST}?state=any&created=365",
    "workspace: sales": f"{LIST}?workspace=sales",
    "search by id": f"{LIST}?q=conv_01",
    SEARCH: f"{LIST}?q=conversation+77",
    "field: all": f"{COMPLETE}&term=",
    "field: by id": f"{COMPLETE}&term=conv_01",
    "sync runs": f"{ADMIN}syncrun/",
    "operations": f"{ADMIN}operation/",
    "rejected items": f"{ADMIN}rejectedpayload/",
    "REST: first page": REST,
    "REST: middle page": f"{REST}&cursor={{middle}}",
    "REST: missing": f"{REST}&state=missing",
    "REST: deleted": f"{REST}&state=deleted",
    "REST: any state": f"{REST}&state=any&cursor={{middle}}",
    "REST: middle, date": f"{REST}&cursor={{middle}}&created_after=2001-01-01",
    "REST: updated since": f"{REST}&updated_after={{an_hour_ago}}",
    "REST: search by id": f"{REST}&search=conv_01",
    "REST: sync runs": "/orq/sync-runs/",
}


def measure() -> dict[str, dict[str, float]]:
    with test_database():
        return {"small": times_at(SMALL), "large": times_at(LARGE)}


def times_at(rows: int) -> dict[str, float]:
    from django.contrib.auth.models import User  # noqa: PLC0415 # Django must be set up first

    from tests.scale import Shares, fill  # noqa: PLC0415 # Django must be set up first

    workspace = "CASE WHEN n % 10 < 3 THEN 'sales' ELSE 'default' END"
    fill(
        rows,
        Shares(workspace=workspace, unlisted="n % 10 = 4", missing="n % 5 = 1", deleted="n % 10 = 2 OR n % 50 = 8"),
    )
    client = Client()
    client.force_login(User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)[0])
    middle = cursor_at(rows // 2)
    values = {"middle": middle, "an_hour_ago": (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {name: shortest_of(client, url.format(**values)) for name, url in URLS.items()}


def cursor_at(number: int) -> str:
    from django_orq.models import Conversation  # noqa: PLC0415 # Django must be set up first

    remote_id = Conversation.objects.order_by("remote_id").values_list("remote_id", flat=True)[number]
    return b64encode(f"p={remote_id}".encode()).decode()


def shortest_of(client: Client, url: str) -> float:
    return min(seconds_for(client, url) for _ in range(REPEATS))


def seconds_for(client: Client, url: str) -> float:
    started = time.perf_counter()
    response = client.get(url)
    seconds = time.perf_counter() - started
    if response.status_code != 200:
        raise RuntimeError(f"{url} was answered with {response.status_code}")
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
