"""The plot above the list of conversations: how many were created on each of the last days."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import IntegerField, QuerySet, Subquery
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext

from ..conf import Workspace, get_workspace
from ..models import Conversation
from ..payloads import first_id
from ..text import number

DAYS = 30
"""The number of days, including today."""
MAX_A_DAY = 5_000
"""The maximum number of conversations that are counted for each day, so that the cost does not depend on the table."""


class _Count(Subquery):
    """The number of rows of a query, which may be limited."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def plotted(conversations: QuerySet[Conversation], workspace: str) -> dict[str, Any] | None:
    """Return the bars and what they show in words; ``None`` if there is nothing to show, or if it is turned off."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -2, -1)]  # and tomorrow, where today ends
    counts = _counts(conversations.filter(workspace=workspace), days) if _is_shown(workspace) else ()
    if not any(counts):
        return None
    names = [date_format(day, "MONTH_DAY_FORMAT") for day in days]
    bars = [{"count": count, "title": f"{name}: {_number(count)}"} for name, count in zip(names, counts, strict=False)]
    most = max(counts)
    told = {"since": names[0], "total": number(sum(counts)), "most": number(most), "day": names[counts.index(most)]}
    text = gettext("Conversations created per day since %(since)s: %(total)s in all, at most %(most)s on %(day)s")
    if most == MAX_A_DAY:
        text = gettext(
            "Conversations created per day since %(since)s: %(total)s or more in all, %(most)s or more on some days"
        )
    return {"bars": bars, "most": most, "text": text % told}


def _counts(conversations: QuerySet[Conversation], days: list[datetime]) -> tuple[int, ...]:
    """Count the conversations of each day in one statement, by ranges of an index: ids sort by creation time."""
    ids = conversations.order_by("remote_id").values("remote_id")
    ranges = [ids.filter(remote_id__gte=first, remote_id__lt=end) for first, end in pairwise(map(first_id, days))]
    any_row = Conversation.objects.using(conversations.db).order_by("pk")
    return any_row.values_list(*(_Count(ids_of_day[:MAX_A_DAY]) for ids_of_day in ranges)).first() or ()


def _is_shown(workspace: str) -> bool:
    try:
        return get_workspace(workspace).plot
    except ImproperlyConfigured:  # reported by a check, and when Orq is contacted
        return Workspace.plot


def _number(count: int) -> str:
    return gettext("%(count)s or more") % {"count": number(count)} if count == MAX_A_DAY else number(count)
