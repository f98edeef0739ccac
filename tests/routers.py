"""Where a project may keep what. The tests keep it in ``default``; ``orq`` and ``replica`` hold our tables alone."""

from typing import Any

OURS = ("django_orq", "references")


class Together:
    """Everything in one database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return None if db == "default" else app_label in OURS


class Apart(Together):
    """What is ours in a database of its own; users and the admin's history in the default one."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return self.db_for_write(model, **hints)

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return "orq" if model._meta.app_label in OURS else None


class Replicated(Apart):
    """And what is ours is read from another than it is written to, whatever the rows at hand came from."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return "replica" if model._meta.app_label in OURS else None
