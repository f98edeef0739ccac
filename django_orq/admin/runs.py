"""Sync runs and rejected payloads, to look at."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from ..models import RejectedPayload, SyncRun
from ..remarks import remarks
from .filters import ResolvedFilter, WorkspaceFilter
from .listing import CarefulChangeList
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
_ID_LENGTH = 31
"""Characters of an Orq id; digests are longer, and nobody reads them to the end."""
_COUNTERS = (
    *("requests", "pages", "seen", "created", "updated", "unchanged", "restored", "skipped", "outdated"),
    *("missing", "unlisted", "tombstoned", "held", "rejected"),
)


class _ReadOnly:
    """Rows that only syncing writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _FirstFew(_InlineFormSet):
    def get_queryset(self) -> QuerySet[RejectedPayload]:
        if not hasattr(self, "_first_few"):
            self._first_few = super().get_queryset()[:_MAX_INLINE]
        return self._first_few


class _Listed:
    """Rows whose list answers any query string."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CarefulChangeList]:
        return CarefulChangeList


class RejectedPayloadInline(_ReadOnly, _TabularInline):
    model = RejectedPayload
    formset = _FirstFew
    fields = ("key", "reason", "last_seen_at", "resolved_at")
    readonly_fields = fields
    ordering = ("key",)
    show_change_link = True
    verbose_name_plural = _("rejected payloads that this run saw last (the first 20)")


@admin.register(SyncRun)
class SyncRunAdmin(_ReadOnly, _Listed, _ModelAdmin):
    ordering = ("-pk",)
    inlines = (RejectedPayloadInline,)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("__str__", "state", "short_problem", "started_at", "seen", "created", "updated", "tombstoned")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("state", "mode", *((WorkspaceFilter,) if if_several("workspace") else ()))

    def get_fieldsets(self, request: HttpRequest, obj: SyncRun | None = None) -> Any:
        return [
            (None, {"fields": ("workspace", "mode", "state", "phase", "walker", "problem")}),
            (_("Progress"), {"fields": (*_COUNTERS, "all_rejected", "is_complete", "cursor", "head_id", "stop_id")}),
            (_("Times"), {"fields": ("queued_at", "started_at", "checkpoint_at", "resume_at", "finished_at")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: SyncRun | None = None) -> tuple[str, ...]:
        return ("problem", "all_rejected")

    @admin.display(description=_("remarks"))
    def problem(self, run: SyncRun) -> str:
        return format_html_join(mark_safe("<br>"), "{}", ((remark,) for remark in remarks(run))) or "-"  # our own tag

    @admin.display(description=_("remarks"))
    def short_problem(self, run: SyncRun) -> str:
        return Truncator(" ".join(remarks(run)) or "-").chars(60)

    @admin.display(description=_("rejected payloads"))
    def all_rejected(self, run: SyncRun) -> str:
        url = reverse("admin:django_orq_rejectedpayload_changelist", current_app=self.admin_site.name)
        return format_html('<a href="{}?last_run__id__exact={}">{}</a>', url, run.pk, _("Those it saw last"))


@admin.register(RejectedPayload)
class RejectedPayloadAdmin(_ReadOnly, _Listed, _ModelAdmin):
    ordering = ("-last_seen_at", "-pk")
    search_fields = ("key__startswith",)
    search_help_text = _("The beginning of an Orq id (conv_…) or of a digest.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("short_key", *if_several("workspace"), "short_reason", "last_seen_at", "is_resolved")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return (ResolvedFilter, *((WorkspaceFilter,) if if_several("workspace") else ()))

    @admin.display(description=_("Orq id or digest"), ordering="key")
    def short_key(self, payload: RejectedPayload) -> str:
        return Truncator(payload.key).chars(_ID_LENGTH)

    @admin.display(description=_("reason"))
    def short_reason(self, payload: RejectedPayload) -> str:
        return Truncator(payload.reason).chars(100)

    @admin.display(description=_("resolved"), boolean=True, ordering="resolved_at")
    def is_resolved(self, payload: RejectedPayload) -> bool:
        return payload.resolved_at is not None
