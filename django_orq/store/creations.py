"""Creations with an unknown outcome: a later complete run may have found the conversation that was created."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from ..conf import TOTAL_SECONDS
from ..exceptions import MirrorBehind
from ..models import Conversation, Operation, OperationItem, SyncRun
from ..payloads import first_id
from .database import all_items, all_rows, short_transaction
from .history import Kind, Origin, Requester, all_changes, record_creation

_TOTAL, _TOLERANCE = timedelta(seconds=TOTAL_SECONDS), timedelta(minutes=2)
"""How long a request may take, and how far Orq's clock and the database's may differ."""
_MAX_CREATORS = 100
State = OperationItem.State


def newest_row() -> int:
    """The primary key of the newest row. A conversation with a greater one was mirrored later."""
    return all_rows().order_by("-pk").values_list("pk", flat=True).first() or 0


def resolve(run: SyncRun, *, now: datetime) -> None:
    """Decide about the creations that were requested long enough before a complete run began.

    Each is done if exactly one conversation can be the result, and no other creation of that name is unresolved.
    Otherwise its outcome stays unknown, with the candidates in its ``note``.
    """
    created = all_items().filter(operation__verb=Operation.Verb.CREATE, workspace=run.workspace, conversation=None)
    is_in_orq = Q(state=State.DONE, error_code=MirrorBehind.code)  # but its row was not written
    doubtful = created.filter(Q(state__in=(State.UNKNOWN, State.SENT)) | is_in_orq)
    latest = (run.started_at or run.queued_at) - _TOTAL - _TOLERANCE
    undecided = doubtful.filter(state=State.UNKNOWN, sent_at__lte=latest).exclude(note__has_key="candidates")
    if items := list(undecided.select_related("operation")):
        names = Counter(name.strip() for name in doubtful.values_list("name", flat=True))
        for item in items:
            if own := recorded(item):
                _decide(item, own, now)
                continue
            candidates = _candidates(item)
            is_certain = len(candidates) == 1 and names[item.name.strip()] == 1
            _decide(item, candidates[0] if is_certain else None, now, candidates)


def recorded(item: OperationItem) -> Conversation | None:
    """The conversation that a creation is on record for, if the process died before it recorded the item's outcome."""
    entries = all_changes().filter(operation=item.operation, kind=Kind.CREATED)
    others = all_items().filter(operation=item.operation).exclude(conversation=None)
    own = entries.exclude(conversation__in=others.values("conversation")).select_related("conversation")
    return next((entry.conversation for entry in own if entry.new_name == item.name.strip()), None)


def _candidates(item: OperationItem) -> list[Conversation]:
    """Conversations of that name and time that were mirrored since, and are not the result of another creation."""
    sent_at: Any = item.sent_at
    rows = all_rows().filter(
        workspace=item.workspace,
        remote_id__gte=first_id(sent_at - _TOLERANCE),
        remote_id__lt=first_id(sent_at + _TOTAL + _TOLERANCE),
        display_name=item.name.strip(),
        pk__gt=item.newest_row or 0,
    )
    ours = all_changes().filter(workspace=item.workspace, kind=Kind.CREATED, origin=Origin.HERE)
    newest = ours.order_by("-recorded_at", "-pk").values_list("conversation__created_by_id", flat=True)
    creators = {*newest[:_MAX_CREATORS]}
    by_us = rows.filter(created_by_id__in=creators) if len(creators) == 1 and None not in creators else rows
    found = by_us.exclude(changes__kind=Kind.CREATED).order_by("remote_id")
    return [row for row in found if row.display_name == item.name.strip()]  # MariaDB also finds “refund” for “Refund”


def _decide(item: OperationItem, result: Conversation | None, now: datetime, candidates: Any = None) -> None:
    """Record the decision. Without ``candidates``, the creation of the ``result`` is on record already."""
    note = {} if candidates is None else {"candidates": [row.pk for row in candidates]}
    values: dict[str, Any] = {"note": item.note | note}
    if result is not None:
        values |= {"state": State.DONE, "conversation": result, "error_code": "", "error_params": {}}
    with short_transaction():
        undecided = all_items().filter(pk=item.pk, state=State.UNKNOWN, conversation=None)
        if undecided.update(**values) and result is not None and candidates is not None:
            record_creation(result, by=Requester.of_item(item), recorded_at=now)
