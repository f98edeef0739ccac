"""The filters of the change lists: choices, workspaces, and days."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import localdate, make_aware
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, ConversationState, searching
from ..payloads import first_id


class KnownChoiceFilter(admin.SimpleListFilter):
    """Ignores a value in the query string that is not one of the choices."""

    offered: tuple[tuple[str, Any], ...] = ()
    """The choices with their labels."""
    by_default: Any = ""
    """What the list shows if none is chosen, unless it is all."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*self.offered]

    def value(self) -> str | None:
        value = super().value()
        return value if value in [choice for choice, _label in self.lookup_choices] else None

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        stock, *others = super().choices(changelist)
        yield {**stock, "display": self.by_default or stock["display"]}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class StateFilter(KnownChoiceFilter):
    """Filters by state; by default, deleted conversations are not listed."""

    title = _("state")
    parameter_name = "state"
    offered = (
        (ConversationState.LIVE, _("Live: exist in Orq")),
        (ConversationState.UNLISTED, _("Unlisted: exist in Orq, but its list omits them")),
        (ConversationState.MISSING, _("Missing: not found when last looked for")),
        (ConversationState.DELETED, _("Deleted: no longer exist in Orq")),
        ("any", _("All, including deleted")),
    )
    by_default = _("All except deleted")

    _finds_all = False

    @property
    def hides_deleted(self) -> bool:
        return self.value() is None and not self._finds_all

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        self._finds_all = searching.is_id(request.GET.get(SEARCH_VAR, "").strip())  # whatever the state
        return queryset if self._finds_all else searching.in_state(queryset, self.value())


class WorkspaceFilter(KnownChoiceFilter):
    """Offers the configured workspaces; to find those that have rows, the whole table would have to be read."""

    title = _("workspace")
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in model_admin.get_workspaces(request)]

    def has_output(self) -> bool:
        """Return ``False`` if there is only one choice, unless it is selected."""
        return len(self.lookup_choices) > 1 or self.value() is not None


class DaysFilter(admin.SimpleListFilter):
    """Filters by days, in the current time zone. Above the list is a form for any two days."""

    parameters: tuple[str, str]
    column: str
    excludes: tuple[str, ...] = ()
    """Parameters of other filters, for which there is no index together with this one."""

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.parameter_name = self.parameters[0]
        self.days = [_day(params.get(name, [""])[-1]) for name in self.parameters]
        params.pop(self.parameters[1], None)
        super().__init__(request, params, model, model_admin)

    def expected_parameters(self) -> list[str | None]:
        return [*self.parameters]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("0", _("Today")), ("1", _("Yesterday")), ("6", _("Past 7 days")), ("29", _("Past 30 days"))]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        remove = changelist.get_query_string(remove=[*self.parameters])
        yield {"selected": not any(self.days), "query_string": remove, "display": _("Any day")}
        for days, label in self.lookup_choices:
            since = localdate() - timedelta(days=int(days))
            until = since if days == "1" else localdate()
            asked = dict(zip(self.parameters, (since.isoformat(), until.isoformat()), strict=True))
            link = changelist.get_query_string(asked, [*self.excludes])
            yield {"selected": self.days == [since, until], "query_string": link, "display": label}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        since, until = self.days
        queryset = queryset.filter(**{f"{self.column}__gte": self.start_of(since)}) if since else queryset
        until = until and until + timedelta(days=1)
        return queryset.filter(**{f"{self.column}__lt": self.start_of(until)}) if until else queryset

    def start_of(self, day: date) -> Any:
        """The value of the column at the beginning of this day."""
        return make_aware(datetime.combine(day, datetime.min.time()))


class CreatedFilter(DaysFilter):
    """By means of a range of ids, which sort by creation time."""

    title = _("created")
    parameters = ("created_since", "created_until")
    column = "remote_id"

    def start_of(self, day: date) -> str:
        return first_id(super().start_of(day))


class UpdatedFilter(DaysFilter):
    title = _("updated")
    parameters = ("updated_since", "updated_until")
    column = "remote_updated_at"
    excludes = ("state",)


def _day(text: str) -> date | None:
    with suppress(ValueError):
        day = date.fromisoformat(text)
        return day if 1970 <= day.year <= 9000 else None  # every database supports these
    return None
