"""Columns that every database keeps and compares alike."""

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _CharField = models.CharField[Any, Any]  # nullable in some places
else:
    _CharField = models.CharField

_COLLATIONS = {"mysql": "utf8mb4_bin", "postgresql": "C"}


class BytewiseCharField(_CharField):
    """Text that every database compares byte by byte.

    With PostgreSQL's "C" collation a plain index also serves searches by prefix.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        parameters["collation"] = _COLLATIONS.get(connection.vendor)
        return parameters


class PlainJSONEncoder(json.JSONEncoder):
    """JSON as it came: text in other scripts is not blown up to escapes, which MariaDB's packets may not hold."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"ensure_ascii": False})
