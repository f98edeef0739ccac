"""Tickets: which message calls a worker to a piece of work, so that there is one chain of messages for each."""

import uuid
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from .clock import DatabaseClock
from .leases import due, unclaimed
from .models import Work
from .primary import write_database


def issue(work: type[Work], pk: int, *, delay: float) -> str:
    """A message for this work is about to be enqueued, for ``delay`` seconds from now; returns its ticket."""
    now = DatabaseClock(write_database()).now()
    ticket = uuid.uuid4().hex
    _row(work, pk).update(ticket=ticket, enqueued_at=now + timedelta(seconds=delay))
    return ticket


def void(work: type[Work], pk: int, ticket: str) -> None:
    """The message could not be enqueued."""
    _row(work, pk).filter(ticket=ticket).update(ticket="", enqueued_at=None)


def is_newest(work: type[Work], pk: int, ticket: str) -> bool:
    """Whether no newer message than the one with this ticket was enqueued for the work."""
    return not ticket or _row(work, pk).filter(ticket__in=("", ticket)).exists()


def idle(now: datetime, *, patience: timedelta) -> Q:
    """Work that nobody does, whose wait is over, and that no message younger than ``patience`` is under way for."""
    uncalled = Q(enqueued_at=None) | Q(enqueued_at__lt=now - patience)
    return unclaimed(now) & due(now) & uncalled


def _row(work: type[Work], pk: int) -> QuerySet[Work]:
    rows: QuerySet[Work] = work._default_manager.using(write_database()).filter(pk=pk)
    return rows
