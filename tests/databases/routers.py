"""Database routers that a project may have."""

from typing import Any

OURS = ("django_orq", "references")
OF_THE_REST = ("label",)
"""Models of ``references`` that refer to a conversation by content type, and so are in the same database as those."""


class Apart:
    """Our tables, and those that refer to them, are in a separate database; the others are in the default one."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.db_for_write(model, **hints)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "orq" if _is_ours(model._meta.app_label, model._meta.model_name) else None

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        return _is_ours(app_label, model_name) is (db != "default")


class Replicated(Apart):
    """As above, but our tables are read from a replica, whatever database the rows at hand came from."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if _is_ours(model._meta.app_label, model._meta.model_name) else None


def _is_ours(app_label: str, model_name: str | None) -> bool:
    return app_label in OURS and model_name not in OF_THE_REST
