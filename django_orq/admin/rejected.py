"""Rejected items in the admin."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy as _

from ..models import RejectedPayload, SyncRun
from ..store.database import all_payloads
from .base import ReadOnlyAdmin
from .lists import KnownChoiceFilter, WorkspaceFilter

_MAX_SHOWN = 20
"""How many rejected items the page of a run shows."""


@admin.display(description=_("reason"))
def shown_reason(payload: RejectedPayload) -> str:
    """The reason, translated; it is stored in English and comes from a closed list, or from the database."""
    return gettext(payload.reason)


def met_last(run: SyncRun) -> list[tuple[RejectedPayload, str]]:
    """The rejected items that no later run has seen, each with its reason: the first ``_MAX_SHOWN`` by key."""
    payloads = all_payloads().filter(last_run=run).order_by("key")
    return [(payload, shown_reason(payload)) for payload in payloads[:_MAX_SHOWN]]


class _StateFilter(KnownChoiceFilter):
    title = _("state")
    parameter_name = "resolved_at__isempty"  # the one of the stock filter
    offered = (("1", _("Open")), ("0", _("Resolved")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[RejectedPayload]) -> QuerySet[RejectedPayload]:
        return queryset.filter(resolved_at__isnull=self.value() == "1") if self.value() else queryset


@admin.register(RejectedPayload)
class RejectedPayloadAdmin(ReadOnlyAdmin):
    ordering = ("-last_seen_at", "-pk")
    search_fields = ("key__startswith",)
    seen: ClassVar[Any] = ("first_seen_at", "last_seen_at", "resolved_at", "last_run")
    fields: ClassVar[Any] = ("workspace", "key", shown_reason, "excerpt", *seen)
    readonly_fields: ClassVar[Any] = fields
    search_help_text = _("The beginning of an Orq id (conv_…) or of a checksum.")
    list_display = ("key", "workspace", shown_reason, "last_seen_at", "resolved_at")
    list_filter = (_StateFilter, WorkspaceFilter)
