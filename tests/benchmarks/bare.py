"""Loops without Django: `http.client` and the database's driver. One rewrites every row, one skips unchanged rows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from http.client import HTTPConnection
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from .settings import DATABASE, SQLITE_PRAGMAS, VENDOR

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 # all drivers take naive times in UTC
KEYS = {"_id", "kind", "displayName", "createdAt", "updatedAt", "createdById", "updatedById", "metadata"}
COLUMNS = (
    *("workspace", "remote_id", "display_name", "remote_created_at", "remote_updated_at", "created_by_id"),
    *("updated_by_id", "metadata", "extra", "mirrored_at", "indexed_state", "fingerprint"),
)
PLACE = "?" if VENDOR == "sqlite3" else "%s"
CONFLICT, NEW = "ON CONFLICT (workspace, remote_id) DO UPDATE SET", "excluded.{0}"
if VENDOR == "mysql":
    CONFLICT, NEW = "ON DUPLICATE KEY UPDATE", "VALUES({0})"
UPSERT = (
    f"INSERT INTO benchmarks_copy ({', '.join(COLUMNS)}) VALUES ({', '.join([PLACE] * len(COLUMNS))}) "  # noqa: S608 # all parts are constants
    f"{CONFLICT} {', '.join(f'{column} = {NEW.format(column)}' for column in COLUMNS[2:])}"
)
SELECT = "SELECT remote_id, fingerprint FROM benchmarks_copy WHERE workspace = 'default' AND remote_id IN ({0})"
Item = dict[str, Any]


def sync(base_url: str, api_key: str) -> dict[str, int]:
    """Rewrite every row."""
    connection = connect()
    for items in pages(base_url, api_key):
        connection.cursor().executemany(UPSERT, [row_of(item, None) for item in items])
        connection.commit()
    return {}


def sync_skipping(base_url: str, api_key: str) -> dict[str, int]:
    """Keep a hash of each item, and write only the items whose hash has changed."""
    connection = connect()
    for items in pages(base_url, api_key):
        cursor = connection.cursor()
        cursor.execute(SELECT.format(", ".join([PLACE] * len(items))), [item["_id"] for item in items])
        known = dict(cursor.fetchall())
        differing = [row_of(item, new) for item in items if (new := fingerprint(item)) != known.get(item["_id"])]
        if differing:
            cursor.executemany(UPSERT, differing)
        connection.commit()
    return {}


def pages(base_url: str, api_key: str) -> Iterator[list[Item]]:
    connection = HTTPConnection(urlsplit(base_url).netloc)
    after, has_more = "", True
    while has_more:
        connection.request(
            "GET", f"/v2/conversations?limit=100{after}", headers={"Authorization": f"Bearer {api_key}"}
        )
        body = json.loads(connection.getresponse().read())
        yield body["data"]
        has_more = body["has_more"]
        after = f"&starting_after={body['data'][-1]['_id']}"


def connect() -> Any:
    driver: Any = import_module({"sqlite3": "sqlite3", "postgresql": "psycopg", "mysql": "MySQLdb"}[VENDOR])
    if VENDOR == "sqlite3":
        connection = driver.connect(DATABASE["NAME"])
        connection.executescript(SQLITE_PRAGMAS)
        return connection
    access = {name.lower(): DATABASE[name] for name in ("USER", "PASSWORD", "HOST", "PORT") if DATABASE[name]}
    if VENDOR == "postgresql":
        return driver.connect(dbname=DATABASE["NAME"], options="-c TimeZone=UTC", **access)
    return driver.connect(database=DATABASE["NAME"], charset="utf8mb4", **access)


def row_of(item: Item, new_fingerprint: int | None) -> tuple[object, ...]:
    return (
        *("default", item["_id"], item["displayName"], time_of(item["createdAt"]), time_of(item["updatedAt"])),
        *(item.get("createdById"), item.get("updatedById"), json.dumps(item.get("metadata"))),
        json.dumps({key: item[key] for key in item.keys() - KEYS}),
        *(str(datetime.now(UTC).replace(tzinfo=None)), "live", new_fingerprint),
    )


def time_of(milliseconds: int) -> str:
    return str(EPOCH + timedelta(milliseconds=milliseconds))


def fingerprint(item: Item) -> int:
    text = json.dumps(item, sort_keys=True).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), signed=True)
