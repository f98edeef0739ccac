"""Deletes old rows that are no longer needed and scrubs old tombstones, in batches.

Tombstones are kept for at least a day. If there were no tombstone, a response from before the deletion would create
the conversation's row again; but no request takes a day. If a process that was suspended for that long does write such
a response, the next full run detects that the conversation is gone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.apps import apps
from django.db import router
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy as _

from .. import logs
from ..conf import KEEP_CHANGES_DAYS, MAX_AGE, get_workspace, workspace_aliases
from ..models import Conversation
from ..store.database import DatabaseClock, all_items, all_operations, all_payloads, all_rows, all_runs, write_database
from ..store.deletion import delete_rows, delete_unless_refused
from ..store.history import all_changes
from ..store.references import is_here, referring_fields, rows_of
from ..sync import runs
from ..text import number

BATCH = 200
"""Rows per transaction; operations have up to a thousand items each."""
_EMPTY: dict[str, Any] = {"display_name": "", "extra": {}}
_NULL = ("metadata", "created_by_id", "updated_by_id", "fingerprint")
"""The values of a scrubbed tombstone. ``mirrored_at`` is kept, so that an older response does not restore the row."""

_Rows = QuerySet[Any]


@dataclass(frozen=True)
class Kind:
    """A kind of rows that one of the options of ``orq_prune`` deletes or scrubs."""

    option: str
    label: Promise
    old: Callable[[datetime, str | None], _Rows]
    """Return the rows older than that time, in one workspace or in all."""
    unneeded: Callable[[_Rows], _Rows] = lambda rows: rows
    """Return those rows of a batch of old rows that may be deleted."""
    delete: Callable[[_Rows], int] = delete_rows
    """Delete or scrub locked rows, and return their number."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The progress of pruning one kind of rows."""

    kind: Kind
    count: int
    """Rows deleted or scrubbed; without ``apply``, rows that would be."""
    kept: int
    """Rows that are old enough, but needed or referred to, or that the database refuses to delete."""
    is_complete: bool = False


def prune(
    ages: Mapping[str, int | None], *, changes: bool = False, workspace: str | None = None, apply: bool = False
) -> Iterator[Tally]:
    """Prune old rows, or without ``apply`` only count them; yield a ``Tally`` after each batch and after each kind.

    ``ages`` maps the options of ``KINDS`` to the minimum age of the rows in days; ``None`` skips these kinds.
    ``changes`` also prunes the records of changes that are older than the ``KEEP_CHANGES_DAYS`` of their workspace.
    ``workspace`` is an alias that is configured or has rows; ``None`` prunes all workspaces. To continue after an
    interruption, call it again. Raises ``ValueError`` for invalid ages, and ``ImproperlyConfigured`` for an unknown
    workspace.
    """
    given = [days for days in ages.values() if days is not None]
    if not (given or changes) or not all(1 <= days <= MAX_AGE for days in given):
        text = gettext("specify --changes or an age, such as --runs-older-than 90; ages are from 1 to %(most)s days")
        raise ValueError(text % {"most": number(MAX_AGE)})
    tables: list[_Rows] = [all_rows(), all_runs(), all_payloads(), all_items()]
    if workspace is not None and not any(rows.filter(workspace=workspace).exists() for rows in tables):
        get_workspace(workspace)
    now = DatabaseClock(write_database()).now()
    days = {**ages, CHANGES.option: 0 if changes else None}  # each workspace has its own age of changes
    aged = [(kind, age) for kind in (*KINDS, CHANGES) if (age := days.get(kind.option)) is not None]
    olds = [(kind, kind.old(now - timedelta(days=age), workspace)) for kind, age in aged]
    return (tally for kind, old in olds for tally in _prune(kind, old, apply=apply))


def _prune(kind: Kind, old: _Rows, *, apply: bool) -> Iterator[Tally]:
    count = kept = 0
    try:
        for pks in _batches(old):
            rows = kind.unneeded(old.filter(pk__in=pks))
            done = delete_unless_refused(rows, pks, delete=kind.delete) if apply else rows.count()
            count, kept = count + done, kept + len(pks) - done
            yield Tally(kind=kind, count=count, kept=kept)
    finally:  # an interruption does not undo the batches before it
        if apply:
            logs.log(logs.PRUNED, kind=f"{kind.option}.{old.model._meta.model_name}", count=count, kept=kept)
    yield Tally(kind=kind, count=count, kept=kept, is_complete=True)


def _batches(rows: _Rows) -> Iterator[list[int]]:
    """Yield the keys of these rows in batches; rows that are kept are not yielded again."""
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
    is_empty = Q(**_EMPTY, **{f"{column}__isnull": True for column in _NULL})
    changes = all_changes().filter(conversation=OuterRef("pk"))
    return _tombstones(before, workspace).filter(~is_empty | Exists(changes))


def _scrub(rows: _Rows) -> int:
    all_changes().filter(conversation__in=rows).delete()
    return rows.update(**_EMPTY, **dict.fromkeys(_NULL))


def _operations(before: datetime, workspace: str | None) -> _Rows:
    """Return finished operations; for one workspace, only those without items of another."""
    old = all_operations().filter(finished_at__lt=before)
    about_others = all_items().filter(operation=OuterRef("pk")).exclude(workspace=workspace)
    return old if workspace is None else old.filter(~Exists(about_others))


def _operations_about_tombstones(before: datetime, workspace: str | None) -> _Rows:
    about = all_items().filter(operation=OuterRef("pk"), conversation__in=_tombstones(before, workspace))
    return all_operations().filter(Exists(about), finished_at__lt=before)


def _payloads_of(rows: _Rows) -> _Rows:
    return all_payloads().filter(Exists(rows.filter(workspace=OuterRef("workspace"), remote_id=OuterRef("key"))))


def _unneeded_runs(rows: _Rows) -> _Rows:
    aliases = rows.order_by().values_list("workspace", flat=True).distinct()
    unneeded = (Q(pk__in=runs.unneeded(alias).values("pk")) for alias in aliases)
    return rows.filter(reduce(or_, unneeded, Q(pk__in=())))


def _old_changes(now: datetime, workspace: str | None) -> _Rows:
    kept = {alias: get_workspace(alias).keep_changes_days for alias in workspace_aliases()}
    others = Q(~Q(workspace__in=kept), recorded_at__lt=now - timedelta(days=KEEP_CHANGES_DAYS))
    old = [Q(workspace=one, recorded_at__lt=now - timedelta(days=days)) for one, days in kept.items() if days]
    return _of(all_changes(), workspace).filter(reduce(or_, old, others))


def _remove(rows: _Rows) -> int:
    pks = list(_unused(rows).values_list("pk", flat=True))  # checked again: another process may refer to one by now
    # Items of an operation that has just been retried still refer to the row, so the database refuses to delete it.
    all_items().filter(conversation__in=pks, operation__finished_at__isnull=False).update(conversation=None)
    unused = all_rows().filter(pk__in=pks)
    _payloads_of(unused).delete()
    all_changes().filter(conversation__in=pks).delete()
    # `delete` would cascade, but a row that anything refers to must be kept, whatever `on_delete` says.
    unused._raw_delete(unused.db)
    return len(pks)


def _unused(rows: _Rows) -> _Rows:
    """Return the tombstones that neither a relation of the project nor an unfinished operation refers to."""
    unfinished = all_items().filter(conversation=OuterRef("pk"), operation__finished_at=None)
    referring = [~Exists(unfinished)]
    for field in referring_fields():  # relations of the project; of our own rows, only unfinished operations matter
        pairs = {ours.attname: OuterRef(theirs.attname) for ours, theirs in field.related_fields}
        referring.append(~Exists(rows_of(field.model).filter(**pairs)))
    return rows.filter(*referring).exclude(pk__in=_generically_referred(list(rows.values_list("pk", flat=True))))


def _generically_referred(pks: Sequence[int]) -> set[int]:
    """Return the keys that generic foreign keys refer to.

    The keys are passed as values, because a subquery would compare text with numbers, or text in different collations.
    """
    if not apps.is_installed("django.contrib.contenttypes"):
        return set()
    from django.contrib.contenttypes.fields import GenericForeignKey  # noqa: PLC0415 # may not be installed
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415 # may not be installed

    models = apps.get_models()
    metas = (model._meta for model in models if model._meta.concrete_model is Conversation)  # and its proxies
    names = reduce(or_, (Q(app_label=meta.app_label, model=meta.model_name) for meta in metas))
    types = list(ContentType.objects.using(router.db_for_write(ContentType)).filter(names))
    referred: set[int] = set()
    for field in (field for model in models if is_here(model) for field in model._meta.private_fields):
        if isinstance(field, GenericForeignKey):
            column: Any = field.model._meta.get_field(field.fk_field)
            keys = {column.to_python(pk): pk for pk in pks}  # usually text
            rows = rows_of(field.model).filter((f"{field.ct_field}__in", types), (f"{field.fk_field}__in", keys))
            referred |= {keys[key] for key in rows.values_list(field.fk_field, flat=True).distinct() if key in keys}
    return referred


KINDS = (
    Kind("scrub", _("names and metadata of deleted conversations"), _unscrubbed, delete=_scrub),
    Kind("scrub", _("operations on deleted conversations"), _operations_about_tombstones),
    Kind("scrub", _("rejected items of deleted conversations"), lambda at, one: _payloads_of(_tombstones(at, one))),
    Kind("tombstones", _("deleted conversations"), _tombstones, _unused, _remove),
    Kind("runs", _("sync runs"), lambda at, one: _of(all_runs(), one).filter(finished_at__lt=at), _unneeded_runs),
    Kind("operations", _("operations"), _operations),
    Kind(
        "rejected", _("resolved rejected items"), lambda at, one: _of(all_payloads(), one).filter(resolved_at__lt=at)
    ),
)
"""Scrubbing comes first, so that its numbers are the same with and without ``apply``."""
CHANGES = Kind("changes", _("records of changes"), _old_changes)
