"""What a project's models declare as relations to conversations."""

from collections.abc import Iterator
from typing import Any

from django.db import router
from django.db.models import Model, QuerySet

from ..models import Conversation
from .database import write_database


def referring_fields() -> Iterator[Any]:
    """Yield the field of each foreign key, one-to-one and many-to-many relation; the last has one in its own table.

    Those of our own models are not included.
    """
    for relation in Conversation._meta.get_fields(include_hidden=True):
        field: Any = relation.remote_field
        is_reverse = relation.auto_created and not relation.concrete and not relation.many_to_many
        if is_reverse and field.model._meta.app_label != Conversation._meta.app_label and is_here(field.model):
            yield field


def is_here(model: type[Model]) -> bool:
    """Return whether the model's rows are in the same database as the conversations."""
    return router.db_for_write(model) == write_database()


def rows_of(model: type[Model]) -> QuerySet[Any]:
    """Return all rows of a model, bypassing its managers, which may filter them."""
    return QuerySet(model, using=write_database()).order_by()
