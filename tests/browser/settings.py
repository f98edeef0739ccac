"""The example project's settings, for the server, the worker and the commands that the tests start."""

import json
import os

from example_project.settings import *  # noqa: F403 # all of it, but for what follows
from example_project.settings import CELERY_BROKER_TRANSPORT_OPTIONS, INSTALLED_APPS, MIDDLEWARE

ORQ_WORKSPACES = json.loads(os.environ["ORQ_WORKSPACES"])

CELERY_BROKER_TRANSPORT_OPTIONS = {**CELERY_BROKER_TRANSPORT_OPTIONS, "polling_interval": 0.1}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

THEME, _, MIXED = os.environ.get("ORQ_THEME", "stock").partition("-")
INSTALLED_APPS = [*([THEME] if THEME != "stock" else []), "import_export", *INSTALLED_APPS]
if THEME != "stock":  # whose pages have scripts and styles within
    JAZZMIN_SETTINGS = {"use_google_fonts_cdn": False}
    MIDDLEWARE = [name for name in MIDDLEWARE if "policy" not in name]
if MIXED:
    ROOT_URLCONF = "tests.browser.mixed"
