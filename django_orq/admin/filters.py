"""What the lists can be filtered by, beside columns."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, ConversationState
from ..payloads import first_id
from .workspaces import known_aliases


class KnownChoiceFilter(admin.SimpleListFilter):
    """Takes a value of the query string that is none of the choices for no choice at all."""

    all_label: Any = None
    """What is listed while nothing is chosen; ``None`` for Django's word."""
    offered: tuple[tuple[str, Any], ...] = ()
    """The choices, each with its label."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*self.offered]

    def value(self) -> str | None:
        value = super().value()
        return value if value in [choice for choice, _label in self.lookup_choices] else None

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        choices = super().choices(changelist)
        stock = next(choices)
        yield {**stock, "display": self.all_label or stock["display"]}
        yield from choices


class StateFilter(KnownChoiceFilter):
    """Which states are listed; deleted conversations only if they are asked for."""

    title = _("state")
    parameter_name = "state"
    all_label = _("All but deleted ones")
    offered = (
        (ConversationState.LIVE, _("Live: Orq has them")),
        (ConversationState.UNLISTED, _("Unlisted: found, though Orq’s list leaves them out")),
        (ConversationState.MISSING, _("Missing: not found when last looked for")),
        (ConversationState.DELETED, _("Deleted: gone from Orq")),
        ("any", _("All, deleted ones too")),
    )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        match self.value():
            case None:
                return queryset.filter(deleted_at=None)
            case "any":
                return queryset
            case state:
                return queryset.filter(indexed_state=state)


class WorkspaceFilter(KnownChoiceFilter):
    """One of the configured workspaces: to offer those that occur in the table, all of it would have to be read."""

    title = _("workspace")
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in known_aliases()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(workspace=self.value()) if self.value() else queryset


class CreatedFilter(KnownChoiceFilter):
    """The spans of time that the stock filter offers. Ids sort by creation, so each is a range of ids."""

    title = _("created")
    parameter_name = "created"
    all_label = _("Any date")
    offered = (
        ("today", _("Today")),
        ("week", _("Past 7 days")),
        ("month", _("This month")),
        ("year", _("This year")),
    )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        value = self.value()
        if value is None:
            return queryset
        since, until = _span(value)
        return queryset.filter(remote_id__gte=first_id(since), remote_id__lt=first_id(until))


class SeveralFilter(KnownChoiceFilter):
    """Operations on several conversations, which workers carry out, or on a single one, which the request did."""

    title = _("number of conversations")
    parameter_name = "conversations"
    offered = (("several", _("Several at once")), ("one", _("A single one")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "several":
                return queryset.filter(total__gt=1)
            case "one":
                return queryset.filter(total=1)
        return queryset


class ResolvedFilter(KnownChoiceFilter):
    """Whether what was rejected has been mirrored since, or is listed no more."""

    title = _("state")
    parameter_name = "resolved"
    offered = (("no", _("Not settled yet")), ("yes", _("Settled")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(resolved_at__isnull=self.value() == "no") if self.value() else queryset


def _span(value: str) -> tuple[datetime, datetime]:
    """When a choice of the filter on creation begins and ends, in the reader's time zone."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    first = today.replace(day=1)
    match value:
        case "month":
            return first, (first + timedelta(days=31)).replace(day=1)
        case "year":
            return first.replace(month=1), first.replace(year=first.year + 1, month=1)
    return today - timedelta(days=7 if value == "week" else 0), today + timedelta(days=1)
