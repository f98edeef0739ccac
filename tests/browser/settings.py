"""The example project's, for the server, the worker and the commands that the tests here start."""

import json
import os

from example_project.settings import *  # noqa: F403 # all of it, but for what follows
from example_project.settings import CELERY_BROKER_TRANSPORT_OPTIONS

ORQ_WORKSPACES = json.loads(os.environ["ORQ_WORKSPACES"])

CELERY_BROKER_TRANSPORT_OPTIONS = {**CELERY_BROKER_TRANSPORT_OPTIONS, "polling_interval": 0.1}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
