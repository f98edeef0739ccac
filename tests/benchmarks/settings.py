"""Settings of the measured processes. On a server the database's name is that in `DATABASE_URL`, after `test_`."""

import os

import dj_database_url

SECRET_KEY = "benchmarks"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_orq", "tests.benchmarks"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASE = dj_database_url.parse(os.environ["DATABASE_URL"])
VENDOR = DATABASE["ENGINE"].rpartition(".")[2]
SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
"""Those that the documentation recommends."""
if VENDOR == "sqlite3":
    DATABASE["OPTIONS"] = {"init_command": SQLITE_PRAGMAS, "transaction_mode": "IMMEDIATE"}
else:
    DATABASE["NAME"] = f"test_{DATABASE['NAME']}"
DATABASES = {"default": {**DATABASE, "TEST": {"NAME": DATABASE["NAME"]}}}

if "ORQ_BASE_URL" in os.environ:
    ORQ_WORKSPACES = {"default": {"BASE_URL": os.environ["ORQ_BASE_URL"], "API_KEY": os.environ["ORQ_API_KEY"]}}
    if "ORQ_READERS" in os.environ:
        ORQ_WORKSPACES["default"]["READERS"] = int(os.environ["ORQ_READERS"])
