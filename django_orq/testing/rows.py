"""Rows of the mirror for tests that need no server."""

import itertools
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import router
from django.db.models import QuerySet
from django.utils import timezone

from .ids import conversation_id, ulid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The random part of the ids counts up, so that ids made in the same millisecond increase too.
_numbers = itertools.count(secrets.randbits(79))


def mirrored(name: str = "Untitled", **fields: Any) -> Any:
    """Save a row of `Conversation` without a request to any server, and return it as read from the database.

    `name` is the display name. `fields` are other columns of the model; times are aware datetimes. By default, the
    conversation is in the workspace `default`, was created now, and has not changed since. An id that is not given
    has the time of `remote_created_at`, so ids sort by creation. Raises TypeError for an unknown column.

    Unlike a sync, it sends no signal and records no change. `display_name` may be given instead of `name`.
    """
    model = apps.get_model("django_orq", "Conversation")
    known = sorted(field.name for field in model._meta.concrete_fields if not field.generated)
    if unknown := sorted(fields.keys() - {*known}):
        raise TypeError(f"mirrored() cannot set {', '.join(unknown)}. The columns that it sets: {', '.join(known)}.")
    now = timezone.now()
    columns = {"workspace": "default", "display_name": name, "metadata": {}, "mirrored_at": now, **fields}
    in_orq = now.replace(microsecond=now.microsecond // 1000 * 1000)  # Orq's times are milliseconds
    created = columns.setdefault("remote_created_at", min(in_orq, fields.get("remote_updated_at", in_orq)))
    columns.setdefault("remote_updated_at", created)
    columns.setdefault("remote_id", conversation_id(ulid((created - _EPOCH) // _MILLISECOND, next(_numbers))))
    # The model's own manager refuses to write.
    rows: QuerySet[Any] = QuerySet(model, using=router.db_for_write(model))
    rows.bulk_create([model(**columns)])
    return rows.get(workspace=columns["workspace"], remote_id=columns["remote_id"])
