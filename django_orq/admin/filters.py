from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, ConversationQuerySet
from .workspaces import known_aliases

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class StateFilter(admin.SimpleListFilter):
    """Which states are listed; deleted conversations only if they are asked for."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: _ModelAdmin) -> list[tuple[str, Any]]:
        return [
            ("live", _("Live")),
            ("missing", _("Missing")),
            ("deleted", _("Deleted")),
            ("any", _("All, deleted ones too")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        conversations = cast(ConversationQuerySet, queryset)
        match self.value():
            case "live":
                return conversations.live()
            case "missing":
                return conversations.missing()
            case "deleted":
                return conversations.deleted()
            case "any":
                return conversations
        return conversations.filter(deleted_at=None)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        choices = super().choices(changelist)
        yield {**next(choices), "display": gettext("All but deleted ones")}
        yield from choices


class WorkspaceFilter(admin.SimpleListFilter):
    """One of the configured workspaces: to offer those that occur in the table, all of it would have to be read."""

    title = _("workspace")
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: _ModelAdmin) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in known_aliases()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(workspace=self.value()) if self.value() in known_aliases() else queryset


class ResolvedFilter(admin.SimpleListFilter):
    """Whether what was rejected has been mirrored since, or is listed no more."""

    title = _("resolved")
    parameter_name = "resolved"

    def lookups(self, request: HttpRequest, model_admin: _ModelAdmin) -> list[tuple[str, Any]]:
        return [("no", _("Not yet")), ("yes", _("Resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(resolved_at__isnull=self.value() == "no") if self.value() else queryset
