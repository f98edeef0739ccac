"""Rejected items in the admin."""

from typing import Any, ClassVar

from django.contrib import admin
from django.utils.translation import gettext, gettext_lazy as _

from ..models import RejectedPayload
from .base import ReadOnlyAdmin
from .filters import WorkspaceFilter


@admin.display(description=_("reason"))
def shown_reason(payload: RejectedPayload) -> str:
    """The reason, translated; it is stored in English and comes from a closed list, or from the database."""
    return gettext(payload.reason)


@admin.register(RejectedPayload)
class RejectedPayloadAdmin(ReadOnlyAdmin):
    ordering = ("-last_seen_at", "-pk")
    search_fields = ("key__startswith",)
    seen: ClassVar[Any] = ("first_seen_at", "last_seen_at", "resolved_at", "last_run")
    fields: ClassVar[Any] = ("workspace", "key", shown_reason, "excerpt", *seen)
    readonly_fields: ClassVar[Any] = fields
    search_help_text = _("The beginning of an Orq id (conv_…) or of a checksum.")
    list_display = ("key", "workspace", shown_reason, "last_seen_at", "resolved_at")
    list_filter = (("resolved_at", admin.EmptyFieldListFilter), WorkspaceFilter)
