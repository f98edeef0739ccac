"""Old rows that nothing needs are deleted, and old tombstones emptied, some hundreds at a time.

The age of a tombstone is at least a day. An answer from before the deletion could bring back a row that is no longer
there to show that it is newer; but no request lasts a day. Should a process that was suspended for so long write its
answer all the same, the next full run finds out that the conversation is gone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.apps import apps
from django.db import router
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import logs
from ..conf import get_workspace
from ..models import Conversation
from ..store.database import DatabaseClock, all_items, all_operations, all_payloads, all_rows, all_runs, write_database
from ..store.deletion import delete_rows, delete_unless_refused
from ..sync import runs
from ..text import number

MAX_AGE = 36_500
"""Days."""
BATCH = 200
"""Rows of one transaction; operations have up to a thousand items each."""
_EMPTY: dict[str, Any] = {"display_name": "", "extra": {}}
_NULL = ("previous_name", "metadata", "created_by_id", "updated_by_id")
"""What a scrubbed tombstone has. ``mirrored_at`` stays as it is, so that an older answer brings nothing back."""

_Rows = QuerySet[Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of rows that an option of ``orq_prune`` prunes."""

    option: str
    label: Promise
    old: Callable[[datetime, str | None], _Rows]
    """The rows that are older than that time, of that workspace or of all."""
    unneeded: Callable[[_Rows], _Rows] = lambda rows: rows
    """Those of a batch of old rows that may go."""
    delete: Callable[[_Rows], int] = delete_rows
    """Deletes locked rows, or what is in them; returns of how many."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How far the pruning of one kind is."""

    kind: Kind
    count: int
    """Deleted, or, where nothing is applied, to delete."""
    kept: int
    """Old enough, but needed, referred to, or refused by the database."""
    is_complete: bool = False


def prune(ages: Mapping[str, int | None], *, workspace: str | None = None, apply: bool = False) -> Iterator[Tally]:
    """Yields how far it is after each batch, and how each kind ended; writes nothing without ``apply``.

    ``ages`` has, by the options of ``KINDS``, how many days old the rows must be at least; ``None`` leaves them alone.
    ``workspace`` is an alias that is configured or of which there are rows; else all are pruned. What was broken off
    continues when this is called again. Raises ``ValueError`` for wrong ages, ``ImproperlyConfigured`` for an unknown
    workspace.
    """
    given = [days for days in ages.values() if days is not None]
    if not given or not all(1 <= days <= MAX_AGE for days in given):
        text = gettext("specify at least one age, for example --runs-older-than 90; ages are from 1 to %(most)s days")
        raise ValueError(text % {"most": number(MAX_AGE)})
    sets: list[_Rows] = [all_rows(), all_runs(), all_payloads(), all_items()]
    if workspace is not None and not any(rows.filter(workspace=workspace).exists() for rows in sets):
        get_workspace(workspace)
    now = DatabaseClock(write_database()).now()
    olds = [
        (kind, kind.old(now - timedelta(days=days), workspace)) for kind in KINDS if (days := ages.get(kind.option))
    ]
    return (tally for kind, old in olds for tally in _prune(kind, old, apply=apply))


def _prune(kind: Kind, old: _Rows, *, apply: bool) -> Iterator[Tally]:
    count = kept = 0
    try:
        for pks in _batches(old):
            rows = kind.unneeded(old.filter(pk__in=pks))
            done = delete_unless_refused(rows, pks, delete=kind.delete) if apply else rows.count()
            count, kept = count + done, kept + len(pks) - done
            yield Tally(kind=kind, count=count, kept=kept)
    finally:  # what was done before it was broken off is done
        if apply:
            logs.log(logs.PRUNED, kind=f"{kind.option}.{old.model._meta.model_name}", count=count, kept=kept)
    yield Tally(kind=kind, count=count, kept=kept, is_complete=True)


def _batches(rows: _Rows) -> Iterator[list[int]]:
    """The keys of these rows; those that stay are not met again."""
    keys = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(keys[:BATCH])
    while batch:
        yield batch
        batch = list(keys.filter(pk__gt=batch[-1])[:BATCH])


def _of(rows: _Rows, workspace: str | None) -> _Rows:
    return rows if workspace is None else rows.filter(workspace=workspace)


def _tombstones(before: datetime, workspace: str | None) -> _Rows:
    return _of(all_rows(), workspace).filter(deleted_at__lt=before)


def _unscrubbed(before: datetime, workspace: str | None) -> _Rows:
    return _tombstones(before, workspace).exclude(**_EMPTY, **{f"{column}__isnull": True for column in _NULL})


def _scrub(rows: _Rows) -> int:
    return rows.update(**_EMPTY, **dict.fromkeys(_NULL))


def _operations(before: datetime, workspace: str | None) -> _Rows:
    """Finished ones; of one workspace: those that are about no other."""
    old = all_operations().filter(finished_at__lt=before)
    about_others = all_items().filter(operation=OuterRef("pk")).exclude(workspace=workspace)
    return old if workspace is None else old.filter(~Exists(about_others))


def _operations_about_tombstones(before: datetime, workspace: str | None) -> _Rows:
    about = all_items().filter(operation=OuterRef("pk"), conversation__in=_tombstones(before, workspace))
    return all_operations().filter(Exists(about), finished_at__lt=before)


def _payloads_of_tombstones(before: datetime, workspace: str | None) -> _Rows:
    return _payloads_of(_tombstones(before, workspace))


def _payloads_of(rows: _Rows) -> _Rows:
    return all_payloads().filter(Exists(rows.filter(workspace=OuterRef("workspace"), remote_id=OuterRef("key"))))


def _runs(before: datetime, workspace: str | None) -> _Rows:
    return _of(all_runs(), workspace).filter(finished_at__lt=before)


def _unneeded_runs(rows: _Rows) -> _Rows:
    aliases = rows.order_by().values_list("workspace", flat=True).distinct()
    unneeded = (Q(pk__in=runs.unneeded(alias).values("pk")) for alias in aliases)
    return rows.filter(reduce(or_, unneeded, Q(pk__in=())))


def _rejected(before: datetime, workspace: str | None) -> _Rows:
    return _of(all_payloads(), workspace).filter(resolved_at__lt=before)


def _remove(rows: _Rows) -> int:
    pks = list(_unused(rows).values_list("pk", flat=True))  # another process may have come to refer to one
    # An operation that has just been resumed still refers to its conversation, and so the database refuses.
    all_items().filter(conversation__in=pks, operation__finished_at__isnull=False).update(conversation=None)
    gone = all_rows().filter(pk__in=pks)
    _payloads_of(gone).delete()
    # Without the cascades of `delete`: what refers to a row must keep it, whatever its `on_delete` says.
    gone._raw_delete(gone.db)
    return len(pks)


def _unused(rows: _Rows) -> _Rows:
    """Those of these tombstones that no relation of the project refers to, and no unfinished operation is about."""
    unfinished = all_items().filter(conversation=OuterRef("pk"), operation__finished_at=None)
    referring = [~Exists(unfinished), *(~Exists(found) for found in _referring())]
    return rows.filter(*referring).exclude(pk__in=_keys_named_by_content_type(list(rows.values_list("pk", flat=True))))


def _referring() -> Iterator[_Rows]:
    """The rows that refer to ``OuterRef`` by a foreign key, a one-to-one field, or the table of a many-to-many field.

    Our own models are left out: of these only an unfinished operation keeps a tombstone.
    """
    for relation in Conversation._meta.get_fields(include_hidden=True):
        field: Any = relation.remote_field
        is_reverse = relation.auto_created and not relation.concrete and not relation.many_to_many
        if is_reverse and field.model._meta.app_label != Conversation._meta.app_label and _is_here(field.model):
            pairs = {ours.attname: OuterRef(theirs.attname) for ours, theirs in field.related_fields}
            yield _rows_of(field.model).filter(**pairs)


def _keys_named_by_content_type(pks: Sequence[int]) -> set[int]:
    """Those of these keys that a generic foreign key has.

    The keys are sent as values: a subquery would compare text with numbers, and text of different collations.
    """
    if not apps.is_installed("django.contrib.contenttypes"):
        return set()
    from django.contrib.contenttypes.fields import GenericForeignKey  # noqa: PLC0415 # perhaps not installed
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415 # perhaps not installed

    models = apps.get_models()
    metas = (model._meta for model in models if model._meta.concrete_model is Conversation)  # of its proxies, too
    names = reduce(or_, (Q(app_label=meta.app_label, model=meta.model_name) for meta in metas))
    types = list(ContentType.objects.using(router.db_for_write(ContentType)).filter(names))
    named: set[int] = set()
    for field in (field for model in models if _is_here(model) for field in model._meta.private_fields):
        if isinstance(field, GenericForeignKey):
            column: Any = field.model._meta.get_field(field.fk_field)
            keys = {column.to_python(pk): pk for pk in pks}  # text, as a rule
            rows = _rows_of(field.model).filter((f"{field.ct_field}__in", types), (f"{field.fk_field}__in", keys))
            named |= {keys[key] for key in rows.values_list(field.fk_field, flat=True).distinct() if key in keys}
    return named


def _is_here(model: type[Model]) -> bool:
    """Whether its rows are in the database of conversations."""
    return router.db_for_write(model) == write_database()


def _rows_of(model: type[Model]) -> _Rows:
    """Past the model's own managers, which may leave rows out."""
    return QuerySet(model, using=write_database()).order_by()


KINDS = (
    Kind(option="scrub", label=_("contents of deleted conversations"), old=_unscrubbed, delete=_scrub),
    Kind(option="scrub", label=_("operations about deleted conversations"), old=_operations_about_tombstones),
    Kind(option="scrub", label=_("unreadable entries of deleted conversations"), old=_payloads_of_tombstones),
    Kind(option="tombstones", label=_("deleted conversations"), old=_tombstones, unneeded=_unused, delete=_remove),
    Kind(option="runs", label=_("sync runs"), old=_runs, unneeded=_unneeded_runs),
    Kind(option="operations", label=_("operations"), old=_operations),
    Kind(option="rejected", label=_("resolved unreadable entries"), old=_rejected),
)
"""In this order, so that as many are scrubbed as is said beforehand."""
