"""Settings of a project that keeps some of what refers to conversations in a second database."""

import os

from .settings import *  # noqa: F403 # the same otherwise

_FOLDER = os.environ["TWO_DATABASES"]
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_FOLDER}/{name}.sqlite3"}
    for name in ("default", "second")
}
DATABASE_ROUTERS = [name for name in os.environ.get("ROUTERS", "").split() if name]
ORQ_API_KEY = "orq-key-of-the-tests"


class Router:
    """Everything in the first one, but for what has no constraint, which is in the second."""

    def db_for_read(self, model, **_hints):
        return "second" if model._meta.model_name == "unconstrained" else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, model_name=None, **_hints):
        return db == ("second" if model_name == "unconstrained" else "default")

    def allow_relation(self, _one, _another, **_hints):
        return True
