"""What Orq sent and the mirror could not take, to look at."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import RejectedPayload, SyncRun
from .filters import ResolvedFilter, WorkspaceFilter
from .read_only import Listed, ReadOnly
from .workspaces import if_several

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[RejectedPayload, SyncRun]
    _InlineFormSet = BaseInlineFormSet[RejectedPayload, SyncRun, Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _TabularInline = admin.TabularInline
    _InlineFormSet = BaseInlineFormSet

_MAX_INLINE = 20


@admin.display(description=_("reason"))
def shown_reason(payload: RejectedPayload) -> str:
    """It is stored in English, and one of a closed list."""
    return gettext(payload.reason)


class _FirstFew(_InlineFormSet):
    def get_queryset(self) -> QuerySet[RejectedPayload]:
        if not hasattr(self, "_first_few"):
            self._first_few = super().get_queryset()[:_MAX_INLINE]
        return self._first_few


class RejectedPayloadInline(ReadOnly, _TabularInline):
    model = RejectedPayload
    formset = _FirstFew
    fields: ClassVar[Any] = (shown_reason, "last_seen_at", "resolved_at")
    readonly_fields: ClassVar[Any] = fields
    ordering = ("key",)
    show_change_link = True
    verbose_name_plural = _("unreadable entries that this run met last (the first 20)")


@admin.register(RejectedPayload)
class RejectedPayloadAdmin(ReadOnly, Listed, _ModelAdmin):
    class Media:
        css = {"all": ("django_orq/admin.css",)}  # noqa: RUF012 # as Django's documentation has it

    ordering = ("-last_seen_at", "-pk")
    search_fields = ("key__startswith",)
    fields: ClassVar[Any] = (
        "workspace",
        "key",
        shown_reason,
        "excerpt",
        "first_seen_at",
        "last_seen_at",
        "resolved_at",
        "last_run",
    )
    readonly_fields: ClassVar[Any] = fields
    search_help_text = _("The beginning of an Orq id (conv_…) or of a fingerprint.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("short_key", *if_several("workspace"), "short_reason", "last_seen_at", "is_resolved")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return (ResolvedFilter, *((WorkspaceFilter,) if if_several("workspace") else ()))

    @admin.display(description=_("Orq id or fingerprint"), ordering="key")
    def short_key(self, payload: RejectedPayload) -> str:
        return str(payload)

    @admin.display(description=_("reason"))
    def short_reason(self, payload: RejectedPayload) -> str:
        return Truncator(shown_reason(payload)).chars(100)

    @admin.display(description=_("settled"), boolean=True, ordering="resolved_at")
    def is_resolved(self, payload: RejectedPayload) -> bool:
        return payload.resolved_at is not None
