"""Measures the admin and REST lists of a small and a large mirror on PostgreSQL; prints one line of JSON.

    {"small": {"the list": …, …}, "large": {…}, "export": {"rows": …, "seconds": …, "mb": …}}

Each time is the shortest of several requests, in seconds, so that other load on the machine matters
little. `export` is a CSV of the large mirror: how long it took, and by how much the memory of the
process grew. `DATABASE_URL` names the server; the mirrors are in a test database, which is created and
dropped. The argument is the number of conversations in the large mirror.
"""

import json
import re
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

SMALL = 1_000
REPEATS = 15
ADMIN, REST = "/admin/django_orq/conversation/", "/orq/conversations/?page_size=100"
CHANGES, REST_CHANGES = "/admin/django_orq/conversationchange/", "/orq/changes/?page_size=100"
URLS = {
    "the list": ADMIN,
    "its ninth page": f"{ADMIN}?p=9",
    "filter: past 7 days": f"{ADMIN}?created_since={{week}}",
    "filter: missing": f"{ADMIN}?state=missing",
    "filter: updated": f"{ADMIN}?updated_since={{week}}",
    "sorted by update": f"{ADMIN}?o=-3",
    "a deleted one by id": f"{ADMIN}?q={{deleted}}",
    "an unknown id": f"{ADMIN}?q=conv_{'0' * 26}",
    "search by id": f"{ADMIN}?q=conv_01",
    "search by name": f"{ADMIN}?q=conversation+77",
    "REST: first page": REST,
    "REST: middle page": f"{REST}&cursor={{middle}}",
    "REST: missing": f"{REST}&state=missing",
    "REST: middle, date": f"{REST}&cursor={{middle}}&created_after=2001-01-01",
    "REST: by update": f"{REST}&ordering=-updated",
    "a timeline": f"{ADMIN}{{newest}}/change/",
    "changes": CHANGES,
    "changes: ninth page": f"{CHANGES}?p=9",
    "changes: past week": f"{CHANGES}?since={{week}}",
    "changes: rare kind": f"{CHANGES}?kind__exact=restored",
    "changes: origin": f"{CHANGES}?origin__exact=orq",
    "changes: person": f"{CHANGES}?actor=person-1",
    "changes: search": f"{CHANGES}?q=Same+7",
    "changes of a run": f"{CHANGES}?run__id__exact={{run}}",
    "REST: changes": REST_CHANGES,
    "REST: of a person": f"{REST_CHANGES}&actor=person-1",
    "REST: since a week": f"{REST_CHANGES}&since={{week}}",
}
WITH_INDEX = "rare name, with index"
"""The oldest conversation, in the large mirror by the index that `orq_search_index` builds."""


def measure(large: int) -> dict[str, dict[str, float]]:
    with test_database():
        return {"small": times_at(SMALL), "large": times_at(large), "export": export()}


def times_at(rows: int) -> dict[str, float]:
    from django_orq.models import Conversation, SyncRun  # noqa: PLC0415 # Django must be set up first
    from django_orq.store.database import all_rows  # noqa: PLC0415 # as above
    from tests.scale import Shares, fill, fill_changes  # noqa: PLC0415 # as above

    fill(rows, Shares(missing="n % 5 = 1", deleted="n % 10 = 2"))
    run = SyncRun.objects.create(workspace="default", mode="full", state="succeeded")
    fill_changes(rows, run.pk)
    client = logged_in()
    known = {"middle": cursor_at(rows // 2), "newest": Conversation.objects.latest("pk").pk, "run": run.pk}
    known["week"] = f"{datetime.now(UTC) - timedelta(days=7):%Y-%m-%d}"
    known["deleted"] = Conversation.objects.exclude(deleted_at=None).earliest("pk").remote_id
    times = {name: shortest_of(client, url.format(**known)) for name, url in URLS.items()}
    oldest = Conversation.objects.filter(deleted_at=None).earliest("pk")
    all_rows().filter(pk=oldest.pk).update(display_name="Ask for Zebulon")
    if rows > SMALL:
        call_command("orq_search_index", stdout=sys.stderr)
    return times | {WITH_INDEX: shortest_of(client, f"{ADMIN}?q=zebulon", shows="Ask for Zebulon")}


def logged_in() -> Client:
    from django.contrib.auth.models import User  # noqa: PLC0415 # Django must be set up first

    client = Client()
    client.force_login(User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)[0])
    return client


def export() -> dict[str, float]:
    """Export all conversations of the mirror that was measured last."""
    client = logged_in()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins again
    started = time.perf_counter()
    lines = sum(part.count(b"\n") for part in client.get(f"{ADMIN}csv/?state=any"))
    return {"rows": lines - 1, "seconds": time.perf_counter() - started, "mb": memory("VmHWM") - before}


def memory(name: str) -> float:
    """One of the figures that Linux keeps of this process, in megabytes."""
    (kibibytes,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024 / 1_000_000


def cursor_at(number: int) -> str:
    from django_orq.models import Conversation  # noqa: PLC0415 # Django must be set up first

    remote_id = Conversation.objects.order_by("remote_id").values_list("remote_id", flat=True)[number]
    return b64encode(f"p={remote_id}".encode()).decode()


def shortest_of(client: Client, url: str, *, shows: str = "") -> float:
    return min(seconds_for(client, url, shows) for _ in range(REPEATS))


def seconds_for(client: Client, url: str, shows: str) -> float:
    started = time.perf_counter()
    response = client.get(url)
    seconds = time.perf_counter() - started
    if response.status_code != 200 or shows not in response.text:
        raise RuntimeError(f"{url} was answered with {response.status_code}, without “{shows}”")
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
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]))) + "\n")
