"""A mirror of any size on PostgreSQL, created by one statement, and what statements on it read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Model

from django_orq.models import Conversation, ConversationChange

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME = " || ".join(f"substr('{_ALPHABET}', ((made >> {shift}) & 31)::int + 1, 1)" for shift in range(45, -1, -5))
_FILL = """
INSERT INTO django_orq_conversation (
    workspace, remote_id, display_name, extra, remote_created_at, remote_updated_at, mirrored_at,
    missing_since, confirmed_at, deleted_at
)
SELECT
    {workspace}, 'conv_' || {time} || lpad(n::text, 16, '0'), 'Conversation ' || n, '{{}}',
    to_timestamp(made / 1000.0), to_timestamp(made / 1000.0), now(),
    CASE WHEN {missing} OR {unlisted} THEN now() END,
    CASE WHEN {unlisted} THEN now() END,
    CASE WHEN {deleted} THEN now() - n * interval '1 second' END
FROM (
    SELECT n, (extract(epoch FROM now()) * 1000)::bigint - ({rows} - n) * 60000::bigint AS made
    FROM generate_series(1, {rows}) AS n
) AS numbered
ORDER BY n
"""

_FILL_CHANGES = """
INSERT INTO django_orq_conversationchange (
    conversation_id, workspace, kind, old_name, new_name, fields, origin, actor_id, actor_name, run_id,
    remote_updated_at, recorded_at
)
SELECT
    id, workspace,
    CASE WHEN n <= 20 THEN 'restored' WHEN n %% 100 = 0 THEN 'deleted' ELSE 'renamed' END,
    'Old name ' || n, display_name, '[]'::jsonb,
    CASE WHEN n <= 20 THEN 'here' ELSE 'orq' END,
    CASE WHEN n <= 20 THEN 'rare' ELSE 'person-' || n %% 10 END,
    CASE WHEN n <= 20 THEN 'Rare' ELSE '' END,
    CASE WHEN n <= %s THEN %s END,
    remote_updated_at, now() - (%s - n) * interval '10 seconds'
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM django_orq_conversation) AS numbered
UNION ALL
SELECT
    (SELECT max(id) FROM django_orq_conversation), 'default', 'renamed', 'Same ' || n, 'Same ' || n + 1, '[]',
    'orq', '', '', NULL, now(), now() - n * interval '1 day'
FROM generate_series(1, 2000) AS n
"""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Which rows are in which state, as SQL about their number ``n``. The highest is the newest, one per minute."""

    workspace: str = "'default'"
    missing: str = "false"
    unlisted: str = "false"
    deleted: str = "false"


def fill(rows: int, shares: Shares) -> None:
    """Replace all rows by so many new ones. The indexes are built afterwards, which is faster."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE django_orq_conversation CASCADE")
    _fill(Conversation, _FILL.format(rows=rows, time=_TIME, **vars(shares)), None)


def fill_changes(rows: int, run: int) -> None:
    """Record one change of each of so many conversations, and 2,000 more of the newest; of half of them in a run."""
    _fill(ConversationChange, _FILL_CHANGES, [rows // 2, run, rows])


def _fill(model: type[Model], sql: str, parameters: list[int] | None) -> None:
    with connection.schema_editor() as editor:
        for index in model._meta.indexes:
            editor.remove_index(model, index)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
    with connection.schema_editor() as editor:
        for index in model._meta.indexes:
            editor.add_index(model, index)
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {model._meta.db_table}")


def rows_read(sql: str) -> int:
    """The number of rows and index entries that a SELECT reads, including those that it filters out."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        (found,) = cursor.fetchone()
    (explained,) = json.loads(found) if isinstance(found, str) else found
    return sum(map(_touched, _nodes(explained["Plan"])))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _touched(node: dict[str, Any]) -> int:
    if not node.keys() & {"Relation Name", "Index Name"}:
        return 0
    dropped = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return (node["Actual Rows"] + sum(node.get(name, 0) for name in dropped)) * node["Actual Loops"]
