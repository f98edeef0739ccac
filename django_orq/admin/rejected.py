"""Payloads that Orq sent and the mirror could not take, to look at."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import RejectedPayload, SyncRun
from ..store.database import all_payloads
from .base import ReadOnlyAdmin, if_several
from .lists import KnownChoiceFilter, WorkspaceFilter

_MAX_SHOWN = 20
"""On the page of a run."""


class ResolvedFilter(KnownChoiceFilter):
    """Whether what was rejected has been mirrored since, or is no longer listed."""

    title = _("state")
    parameter_name = "resolved"
    offered = (("no", _("Unresolved")), ("yes", _("Resolved")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(resolved_at__isnull=self.value() == "no") if self.value() else queryset


@admin.display(description=_("reason"))
def shown_reason(payload: RejectedPayload) -> str:
    """It is stored in English, and one of a closed list."""
    return gettext(payload.reason)


def met_last(run: SyncRun) -> list[tuple[RejectedPayload, str]]:
    """The first few that this run met last, and why they could not be read."""
    payloads = all_payloads().filter(last_run=run).order_by("key")
    return [(payload, shown_reason(payload)) for payload in payloads[:_MAX_SHOWN]]


@admin.register(RejectedPayload)
class RejectedPayloadAdmin(ReadOnlyAdmin[RejectedPayload]):
    ordering = ("-last_seen_at", "-pk")
    search_fields = ("key__startswith",)
    seen: ClassVar[Any] = ("first_seen_at", "last_seen_at", "resolved_at", "last_run")
    fields: ClassVar[Any] = ("workspace", "key", shown_reason, "excerpt", *seen)
    readonly_fields: ClassVar[Any] = fields
    search_help_text = _("The beginning of an Orq id (conv_…) or of a checksum.")

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("short_key", *if_several("workspace"), "short_reason", "last_seen_at", "is_resolved")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return (ResolvedFilter, *if_several(WorkspaceFilter))

    @admin.display(description=_("Orq id or fingerprint"), ordering="key")
    def short_key(self, payload: RejectedPayload) -> str:
        return str(payload)

    @admin.display(description=_("reason"))
    def short_reason(self, payload: RejectedPayload) -> str:
        return Truncator(shown_reason(payload)).chars(100)

    @admin.display(description=_("resolved"), boolean=True, ordering="resolved_at")
    def is_resolved(self, payload: RejectedPayload) -> bool:
        return payload.resolved_at is not None
