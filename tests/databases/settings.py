"""The tests' settings, with three databases: ``default``, ``orq``, and ``replica``, which is read-only."""

import os

import dj_database_url

from tests.settings import *  # noqa: F403 # all of it, but for what follows

DATABASES = {
    alias: dj_database_url.parse(os.environ.get("DATABASE_URL", "sqlite://:memory:"))
    for alias in ("default", "orq", "replica")
}
for _alias, _database in DATABASES.items():
    if _database["NAME"] != ":memory:":
        _database["NAME"] += f"_{_alias}"
DATABASE_ROUTERS = ["tests.databases.routers.Apart"]
