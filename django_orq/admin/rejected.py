"""Payloads that Orq sent and the mirror could not take, to look at."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import RejectedPayload, SyncRun
from ..store.database import all_payloads
from .base import ReadOnlyAdmin, if_several
from .lists import WorkspaceFilter

_MAX_SHOWN = 20
"""On the page of a run."""


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
        return ("key", *if_several("workspace"), shown_reason, "last_seen_at", "resolved_at")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return (("resolved_at", admin.EmptyFieldListFilter), *if_several(WorkspaceFilter))
