"""Sync runs in the admin: their list, and what the page of one shows."""

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import RejectedPayload, SyncRun
from ..store.database import DatabaseClock, write_database
from ..sync import holds
from ..sync.report import counts, how_far
from .base import ReadOnlyAdmin, if_several, may_see
from .lists import WorkspaceFilter, chosen_workspace
from .rejected import met_last
from .run_columns import (
    COUNTERS,
    EMPTY,
    LIVE,
    TECHNICAL,
    TIMES,
    Shown,
    duration,
    label,
    of_mode,
    of_run,
    remarks_on,
    shown,
)
from .run_views import RunViewsAdmin, is_watched
from .texts import ago, explained

_MAX_REMARKS = 400
"""Characters in the list; the page of a run has all of them."""


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin[SyncRun], RunViewsAdmin):
    ordering = ("-pk",)

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        # Read once, however many runs are listed.
        clock = cast(DatabaseClock, SimpleLazyObject(partial(DatabaseClock, write_database())))

        @admin.display(description=_("started"), ordering="started_at")
        def started(run: SyncRun) -> str:
            return _started(run, clock)

        return ("name", "state", started, "conversations", "problem")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("state", "mode", *if_several(WorkspaceFilter))

    def get_fieldsets(self, request: HttpRequest, obj: SyncRun | None = None) -> Any:
        continued = ("continues",) if obj is not None and obj.continues_id is not None else ()
        place = ("is_complete", "cursor", "head_id", "stop_id", "error_code")
        return [
            (None, {"fields": (*if_several("workspace"), "kind", *continued)}),
            (_("Conversations"), {"fields": _lines(COUNTERS)}),
            (_("Times"), {"fields": _lines(TIMES)}),
            (_("Technical details"), {"fields": (*_lines(TECHNICAL), *place), "classes": ("collapse",)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: SyncRun | None = None) -> tuple[Any, ...]:
        return ("kind", *LIVE.values())

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"chosen_workspace": chosen_workspace(request), "may_sync": self.has_sync_permission(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= self._standing(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def _standing(self, request: HttpRequest, run: SyncRun) -> dict[str, Any]:
        """What the head of a run's page shows and offers."""
        may_sync = self.has_sync_permission(request)
        return {
            "extent": how_far(run),
            "counts": counts(run),
            "meaning": of_run(run),
            "remarks": "\n".join(remarks_on(run)),
            "is_watched": is_watched(run),
            "offers_pause": may_sync and is_watched(run),
            "offers_cancel": may_sync and not run.is_finished,
            "offers_go_on": may_sync and holds.can_go_on(run),
            "is_held": holds.is_held(run),
            "unreadable": met_last(run) if may_see(request, self.admin_site, RejectedPayload) else [],
            "following": holds.newest_continuation(run),
        }

    @admin.display(description=_("run"), ordering="pk")
    def name(self, run: SyncRun) -> str:
        return " ".join((f"#{run.pk}", *if_several(run.workspace), run.get_mode_display()))

    @admin.display(description=_("conversations"), ordering="seen")
    def conversations(self, run: SyncRun) -> str:
        """How many were seen, and with how many something was done."""
        names = ("seen", *(name for name in ("created", "updated", "tombstoned") if getattr(run, name)))
        lines = ((shown(run, name), label(name)) for name in names)
        return format_html_join(mark_safe("<br>"), "{} {}", lines)  # our own tag

    @admin.display(description=_("remarks"))
    def problem(self, run: SyncRun) -> str:
        return Truncator(" ".join(remarks_on(run)) or EMPTY).chars(_MAX_REMARKS)

    @admin.display(description=_("kind"))
    def kind(self, run: SyncRun) -> str:
        return explained(run.get_mode_display(), of_mode(run))


def _lines(names: Iterable[Iterable[str]]) -> list[tuple[Shown, ...]]:
    return [tuple(LIVE[name] for name in line) for line in names]


def _started(run: SyncRun, clock: DatabaseClock) -> str:
    if run.started_at is None:
        return EMPTY
    start = ago(run.started_at, now=clock.now())
    if not run.is_finished:
        return start
    return format_html("{}<br>{}", start, gettext("took %(time)s") % {"time": duration(run)})
