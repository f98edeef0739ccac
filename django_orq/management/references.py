"""What refers to conversations: every relation that the project's models declare, whichever database holds it, and
every constraint that the database has besides.

Our own items of operations are none: they let go of a conversation that is removed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Model, Q, QuerySet

from ..models import Conversation, OperationItem
from ..store import content_types
from ..store.content_types import conversation_models
from ..store.database import write_database
from . import constraints, tables
from .constraints import Column, Constraint

_Names = Callable[[str], set[str]]
"""The tables of a database, in small letters."""


class References:
    """Found once, to be looked up for some conversations at a time."""

    def to(self, rows: Sequence[Conversation]) -> set[int]:
        """The keys of those of these rows that anything refers to."""
        return {pk for reference in self._found for pk in reference.to(rows)}

    @cached_property
    def _found(self) -> "list[_Columns | _Generic | Constraint]":
        names = cache(_names_in)
        declared: list[_Columns | _Generic] = [*_by_columns(), *_by_content_type(names)]
        found = [reference for reference in declared if _may_be_in(names(reference.using), reference)]
        return [*found, *constraints.besides(_known(found))]


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
    homes: Sequence[str]
    """The databases whose content types it may hold: its own, and that of conversations, whose rows are labelled."""

    def to(self, rows: Sequence[Conversation]) -> set[int]:
        pks = dict(self._keys(rows))
        wanted = self._is_of_conversations() & Q((f"{self.object_id}__in", list(pks)))
        found = _rows_of(self.model, self.using).filter(wanted).values_list(self.object_id, flat=True).distinct()
        return {pks[key] for key in found if key in pks}

    def _is_of_conversations(self) -> Q:
        any_of_them = Q(pk__in=())
        for home in self.homes:
            theirs = content_types.of_conversations(home)
            any_of_them |= Q((f"{self.content_type}__in", theirs if home == self.using else list(theirs)))
        return any_of_them

    def _keys(self, rows: Sequence[Conversation]) -> Iterator[tuple[Any, int]]:
        """As the column has them: text or numbers. A column of another kind can't hold them."""
        field: Any = self.model._meta.get_field(self.object_id)
        for row in rows:
            try:
                yield field.to_python(row.pk), row.pk
            except ValidationError:
                return


def _known(found: "list[_Columns | _Generic]") -> set[Column]:
    """The columns that need no further look: those of the models, and those of our own items of operations."""
    fields: list[Any] = [OperationItem._meta.get_field("conversation")]
    for reference in found:
        if isinstance(reference, _Columns) and reference.using == write_database():
            fields += [reference.model._meta.get_field(column) for column in reference.columns]
    using = write_database()
    return {(tables.as_kept(field.model._meta.db_table, using), field.column) for field in fields}


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


def _by_content_type(names: _Names) -> Iterator[_Generic]:
    if not apps.is_installed("django.contrib.contenttypes"):
        return
    for model, content_type, object_id in dict.fromkeys((*_generic_foreign_keys(), *_generic_relations())):
        for using in _databases(model):
            homes = [home for home in dict.fromkeys((using, write_database())) if content_types.table() in names(home)]
            yield _Generic(model=model, using=using, content_type=content_type, object_id=object_id, homes=homes)


def _generic_foreign_keys() -> Iterator[tuple[type[Model], str, str]]:
    from django.contrib.contenttypes.fields import GenericForeignKey  # noqa: PLC0415 # perhaps not installed

    for model in apps.get_models():
        for field in model._meta.private_fields:
            if isinstance(field, GenericForeignKey):
                yield model, field.ct_field, field.fk_field


def _generic_relations() -> Iterator[tuple[type[Model], str, str]]:
    """Such a relation needs no generic foreign key at its other end."""
    from django.contrib.contenttypes.fields import GenericRelation  # noqa: PLC0415 # perhaps not installed

    for model in conversation_models():
        for field in model._meta.private_fields:
            if isinstance(field, GenericRelation):
                yield field.related_model, field.content_type_field_name, field.object_id_field_name


def _databases(model: type[Model]) -> list[str]:
    """The databases that may hold rows of a model: without routers, all that are configured."""
    allowed = (alias for alias in connections if router.allow_migrate_model(alias, model))
    aliases = dict.fromkeys((*_named_databases(model), *allowed))
    return [alias for alias in aliases if connections.settings[alias]["ENGINE"] != "django.db.backends.dummy"]


def _named_databases(model: type[Model]) -> tuple[str, str]:
    return router.db_for_write(model), router.db_for_read(model)


def _names_in(using: str) -> set[str]:
    return {name.lower() for name in tables.names_in(using)}


def _may_be_in(names: set[str], reference: "_Columns | _Generic") -> bool:
    """Whether a model's table is there, or has a name, such as one of another schema, that doesn't tell."""
    name = tables.as_kept(reference.model._meta.db_table, reference.using).lower()
    tells = re.search(r"""["`.\[]""", name) is None
    return name in names or (not tells and reference.using in _named_databases(reference.model))
