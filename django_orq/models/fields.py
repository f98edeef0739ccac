"""Fields that behave alike on every database."""

import json
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

_COLLATIONS = {"mysql": "utf8mb4_bin", "postgresql": "C"}


class BytewiseCharField(models.CharField):  # type: ignore[type-arg] # some columns are nullable
    """A ``CharField`` whose values every database compares byte by byte.

    PostgreSQL's "C" collation also lets a plain index serve prefix searches.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        parameters["collation"] = _COLLATIONS.get(connection.vendor)
        return parameters


class PlainJSONEncoder(json.JSONEncoder):
    """Write non-ASCII text unescaped: with escapes, a long text could exceed MariaDB's ``max_allowed_packet``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"ensure_ascii": False})
