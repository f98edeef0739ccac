"""A small Django project that uses django_orq, configured by environment variables.

| variable | default |
|---|---|
| `ORQ_API_KEY` | none; required for requests to Orq |
| `ORQ_BASE_URL` | Orq's own address |
| `ORQ_SYNC_SECONDS` | 60: the interval of incremental syncs; full syncs run sixty times less often |
| `DATABASE_URL` | an SQLite file in the folder `DEMO_DIR` |
| `CELERY_BROKER_URL` | a folder of messages in `DEMO_DIR`, for use on one machine |
| `DEMO_DIR` | `.demo` beside `manage.py` |
| `DJANGO_SECRET_KEY` | a new one for each process, so that a restart ends all logins |
| `DJANGO_DEBUG` | off; with `1`, `runserver` serves the admin's static files |
| `DJANGO_ALLOWED_HOSTS` | `127.0.0.1,localhost` |
"""

import os
from pathlib import Path
from urllib.parse import quote

import dj_database_url
from celery.schedules import crontab
from csp.constants import SELF
from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
DEMO_DIR = Path(os.environ.get("DEMO_DIR", BASE_DIR / ".demo"))

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_orq",
    "example_project.tickets",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.policy.PolicyMiddleware",
]
# Scripts, styles and images come from this site's own files; policy.py relaxes this for pages outside the admin.
CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"default-src": [SELF]}}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"

# The database

DEMO_DIR.mkdir(parents=True, exist_ok=True)
DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or f"sqlite:///{quote(str(DEMO_DIR / 'db.sqlite3'))}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Web server, worker and beat write to one file. With WAL, readers don't wait for the writer. A
    # transaction takes the write lock when it begins, and waits up to 20 s for it.
    DATABASES["default"]["OPTIONS"] = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }

# Orq

if "ORQ_BASE_URL" in os.environ:  # otherwise django_orq reads ORQ_API_KEY itself
    ORQ_WORKSPACES = {
        "default": {
            "API_KEY": os.environ.get("ORQ_API_KEY", ""),
            "BASE_URL": os.environ["ORQ_BASE_URL"],
        }
    }

# REST API and its OpenAPI schema; the schema's page uses the scripts of the sidecar package

REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "django_orq",
    "VERSION": "1",
    "DESCRIPTION": "The conversations of Orq workspaces: read from the mirror, changed in Orq first.",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ConversationState": "django_orq.models.ConversationState",
        "SyncRunMode": "django_orq.models.SyncRun.Mode",
        "SyncRunState": "django_orq.models.SyncRun.State",
        "ApprovalReason": "django_orq.models.SyncRun.Approval",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Celery

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or "filesystem://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if CELERY_BROKER_URL == "filesystem://":
    CELERY_BROKER_TRANSPORT = "example_project.folder_broker:Transport"
    # What one process sends "out", another receives "in", so both are the same folder. Processed
    # messages are stored, because otherwise they would be moved through the system's temporary folder.
    _folders = {name: DEMO_DIR / "broker" / name for name in ("queue", "control", "processed")}
    for _folder in _folders.values():
        _folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_folders["queue"]),
        "data_folder_out": str(_folders["queue"]),
        "control_folder": str(_folders["control"]),
        "processed_folder": str(_folders["processed"]),
        "store_processed": True,
    }

SYNC_SECONDS = float(os.environ.get("ORQ_SYNC_SECONDS", "60"))
CELERY_BEAT_SCHEDULE = {
    # Messages expire, so that they don't pile up while no worker is running.
    "orq-incremental": {
        "task": "django_orq.sync_conversations",
        "schedule": SYNC_SECONDS,
        "options": {"expires": SYNC_SECONDS},
    },
    "orq-full": {
        "task": "django_orq.sync_conversations",
        "kwargs": {"mode": "full"},
        "schedule": 60 * SYNC_SECONDS,
        "options": {"expires": 60 * SYNC_SECONDS},
    },
    "orq-prune": {
        "task": "example_project.prune",
        "schedule": crontab(hour=3, minute=0),
        "options": {"expires": 24 * 3600},
    },
}

# Logging

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "[%(asctime)s: %(levelname)s] %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"django_orq": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
