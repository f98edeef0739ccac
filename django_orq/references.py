"""What refers to conversations: every relation that the project's models declare, whichever database holds it.

Our own items of operations are none: they let go of a conversation that is removed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Model, QuerySet

from . import tables
from .models import Conversation, OperationItem
from .primary import write_database


class References:
    """Found once, to be looked up for some conversations at a time."""

    def to(self, rows: Sequence[Conversation]) -> set[int]:
        """The keys of those of these rows that anything refers to."""
        return {pk for reference in self._found for pk in reference.to(rows)}

    @cached_property
    def _found(self) -> "list[_Columns | _Generic]":
        names = cache(_tables)
        found: list[_Columns | _Generic] = [*_by_columns(), *_by_content_type()]
        return [reference for reference in found if _may_be_in(names(reference.using), reference)]


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """A foreign key, a one-to-one field, a row of a many-to-many field, or a pair of columns that names a row."""

    model: type[Model]
    using: str
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    """The attributes of a conversation that the columns hold."""

    def to(self, rows: Sequence[Conversation]) -> set[int]:
        pks = {tuple(getattr(row, target) for target in self.targets): row.pk for row in rows}
        telling = next(place for place, target in enumerate(self.targets) if target != "workspace")
        wanted = {f"{self.columns[telling]}__in": [key[telling] for key in pks]}
        found = _rows_of(self.model, self.using).filter(**wanted).values_list(*self.columns).distinct()
        return {pks[key] for key in found if key in pks}


@dataclass(frozen=True, kw_only=True)
class _Generic:
    """A content type and a key, as generic foreign keys and generic relations have them."""

    model: type[Model]
    using: str
    content_type: str
    object_id: str

    def to(self, rows: Sequence[Conversation]) -> set[int]:
        pks = dict(self._keys(rows))
        wanted = {
            f"{self.content_type}__app_label__in": {model._meta.app_label for model in _conversation_models()},
            f"{self.content_type}__model__in": {model._meta.model_name for model in _conversation_models()},
            f"{self.object_id}__in": list(pks),
        }
        found = _rows_of(self.model, self.using).filter(**wanted).values_list(self.object_id, flat=True).distinct()
        return {pks[key] for key in found if key in pks}

    def _keys(self, rows: Sequence[Conversation]) -> Iterator[tuple[Any, int]]:
        """As the column has them: text or numbers. A column of another kind can't hold them."""
        field: Any = self.model._meta.get_field(self.object_id)
        for row in rows:
            try:
                yield field.to_python(row.pk), row.pk
            except ValidationError:
                return


def _rows_of(model: type[Model], using: str) -> QuerySet[Any]:
    """Past the model's own managers, which may leave rows out."""
    return QuerySet(model, using=using).order_by()


def _by_columns() -> Iterator[_Columns]:
    for relation in Conversation._meta.get_fields(include_hidden=True):
        if not relation.auto_created or relation.concrete or not (relation.one_to_one or relation.one_to_many):
            continue
        field: Any = relation.remote_field
        if field.model is OperationItem:
            continue
        columns, targets = zip(*((ours.attname, theirs.attname) for ours, theirs in field.related_fields), strict=True)
        for using in _databases(field.model):
            yield _Columns(model=field.model, using=using, columns=columns, targets=targets)


def _by_content_type() -> Iterator[_Generic]:
    if not apps.is_installed("django.contrib.contenttypes"):
        return
    for model, content_type, object_id in dict.fromkeys((*_generic_foreign_keys(), *_generic_relations())):
        for using in _databases(model):
            yield _Generic(model=model, using=using, content_type=content_type, object_id=object_id)


def _generic_foreign_keys() -> Iterator[tuple[type[Model], str, str]]:
    from django.contrib.contenttypes.fields import GenericForeignKey  # noqa: PLC0415 # perhaps not installed

    for model in apps.get_models():
        for field in model._meta.private_fields:
            if isinstance(field, GenericForeignKey):
                yield model, field.ct_field, field.fk_field


def _generic_relations() -> Iterator[tuple[type[Model], str, str]]:
    """Such a relation needs no generic foreign key at its other end."""
    from django.contrib.contenttypes.fields import GenericRelation  # noqa: PLC0415 # perhaps not installed

    for model in _conversation_models():
        for field in model._meta.private_fields:
            if isinstance(field, GenericRelation):
                yield field.related_model, field.content_type_field_name, field.object_id_field_name


def _conversation_models() -> list[type[Model]]:
    """The model, and the proxies that projects make of it."""
    return [model for model in apps.get_models() if model._meta.concrete_model is Conversation]


def _databases(model: type[Model]) -> Iterable[str]:
    """The databases that may hold rows of a model. Without routers, all models live where conversations do."""
    if not settings.DATABASE_ROUTERS:
        return [write_database()]
    allowed = (alias for alias in connections if router.allow_migrate_model(alias, model))
    return dict.fromkeys((router.db_for_write(model), router.db_for_read(model), *allowed))


def _tables(using: str) -> set[str]:
    return {name.lower() for name in tables.names_in(using)}


def _may_be_in(names: set[str], reference: "_Columns | _Generic") -> bool:
    """Whether a model's table is there, or has a name, such as one of another schema, that doesn't tell."""
    name = tables.as_kept(reference.model._meta.db_table, reference.using).lower()
    return name in names or not name.replace("_", "").isalnum()
