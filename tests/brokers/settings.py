"""The settings of the workers, beats and commands started here, configured by environment variables."""

import json
import os

from tests.settings import *  # noqa: F403 # all of it, but for what follows

ORQ_WORKSPACES = json.loads(os.environ["ORQ_WORKSPACES"])

CELERY_BROKER_URL = os.environ["ORQ_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = os.environ["ORQ_QUEUE"]
if CELERY_BROKER_URL.startswith("redis:"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": f"{CELERY_TASK_DEFAULT_QUEUE}:"}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # its exchanges would be shared with other applications
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

BEAT_SECONDS = 2.0
CELERY_BEAT_SCHEDULE = {
    "orq-full": {
        "task": "django_orq.sync_conversations",
        "kwargs": {"workspace": None, "mode": "full"},
        "schedule": BEAT_SECONDS,
        "options": {"expires": BEAT_SECONDS},
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
