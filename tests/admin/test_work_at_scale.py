"""What the lists of a million sync runs and operations read, according to PostgreSQL."""

from urllib.parse import urlencode

import pytest
from django.db import connection
from django.urls import reverse

from django_orq.models import Conversation, Operation
from django_orq.models.searching import MAX_SEARCHED

from ..scale import Shares, fill, rows_read

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.xdist_group("work"),  # they share tables that take long to fill
    pytest.mark.skipif(connection.vendor != "postgresql", reason="reads the plans of PostgreSQL"),
]
RUNS = reverse("admin:django_orq_syncrun_changelist")
OPERATIONS = reverse("admin:django_orq_operation_changelist")
LARGE = 1_000_000
MOST = 4 * MAX_SEARCHED
"""Each row is read once in an index and once in the table, and in some lists with its items."""


def fill_table(table: str, **columns: str) -> None:
    """Insert a million rows; ``columns`` are SQL about their number ``n``, the others have empty values."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, udt_name FROM information_schema.columns "
            "WHERE table_name = %s AND is_nullable = 'NO' AND column_name <> 'id'",
            [table],
        )
        empty = {"bool": "false", "varchar": "''", "text": "''", "jsonb": "'{}'", "timestamptz": "now()"}
        values = {name: empty.get(kind, "0") for name, kind in cursor.fetchall()} | columns
        names, sql = ", ".join(values), ", ".join(values.values())
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {sql} FROM generate_series(1, {LARGE}) AS n")  # noqa: S608 # ours
        cursor.execute(f"VACUUM ANALYZE {table}")


@pytest.fixture(scope="module", autouse=True)
def record(django_db_setup, django_db_blocker):
    """A million of each; few, and the oldest, match some of the filters."""
    with django_db_blocker.unblock():
        fill(100_000, Shares())
        fill_table(
            "django_orq_syncrun", workspace="'default'", mode="'full'", state="'succeeded'", finished_at="now()"
        )
        day = f"now() - ({LARGE} - n) * interval '10 seconds'"
        person = "CASE WHEN n <= 20 THEN 'rare' ELSE 'person-' || n % 10 END"
        fill_table("django_orq_operation", verb="'rename'", requested_by=person, requested_at=day, finished_at="now()")
        first, row = Operation.objects.order_by("pk")[0].pk, Conversation.objects.order_by("pk")[0].pk
        fill_table(
            "django_orq_operationitem",
            operation_id=f"{first - 1} + n",
            conversation_id=f"{row} + n % 100000",
            name="'Old name ' || n",
            state="CASE WHEN n <= 20 THEN 'failed' ELSE 'done' END",
        )
        yield
        fill(0, Shares())
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE django_orq_syncrun, django_orq_operation CASCADE")


QUERIES = [
    (RUNS, {}),
    (RUNS, {"result": "all"}),
    (RUNS, {"result": "all", "p": MAX_SEARCHED // 100}),
    (RUNS, {"state__exact": "failed"}),
    (RUNS, {"workspace": "default", "o": "-4"}),
    (OPERATIONS, {}),
    (OPERATIONS, {"since": "2000-01-01", "until": "2000-01-01"}),
    (OPERATIONS, {"since": "2000-01-01", "until": "2100-01-01"}),
    (OPERATIONS, {"requested_by": "person-1"}),
    *((OPERATIONS, {"outcome": outcome}) for outcome in ("failed", "unknown", "done", "unfinished")),
    (OPERATIONS, {"verb__exact": "delete"}),
    *((OPERATIONS, {"q": term}) for term in ("name 1", "nowhere", "rare", "conv_", "conv_zzz", "person-1")),
]


@pytest.mark.parametrize(("url", "query"), QUERIES, ids=[f"{url.split('/')[-2]}?{urlencode(q)}" for url, q in QUERIES])
def test_list_reads_no_more_than_the_newest(admin_client, statements, url, query):
    # A list in a popup has no panel, which reads all runs: a workspace keeps only 500.
    with statements() as executed:
        response = admin_client.get(url, {**query, "_popup": "1"})

    assert response.status_code == 200
    read = {sql: rows_read(sql) for sql in executed if "django_orq_" in sql}
    assert max(read.values()) <= MOST, read
