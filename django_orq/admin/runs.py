"""Sync runs in the admin: their list, their pages, and the actions on them."""

import math
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from ..conf import DEFAULT_ALIAS
from ..models import Conversation, ConversationChange, ConversationState, RejectedPayload, SyncRun
from ..store.database import all_runs, kept_rows
from ..sync import runs
from ..sync.report import counts, how_far, how_far_each, meaning_of_mode, meaning_of_state, remarks, what_approval_does
from ..tasks import Enqueued, enqueue, start
from ..text import in_words, number
from .base import ReadOnlyAdmin, if_several, page_of, url_to, ways_to_sync
from .changes import changes_url
from .filters import KnownChoiceFilter, WorkspaceFilter
from .lists import NewestList, kept, sync_panel
from .texts import explain_refusal, explained, local

Kind, State = ConversationChange.Kind, SyncRun.State
Act = Callable[[SyncRun], SyncRun | bool | None]

_COUNTERS = (
    ("seen", "created", "updated", "unchanged"),
    ("missing", "tombstoned", "unlisted", "to_approve"),
    ("restored", "rejected", "skipped", "outdated"),
)
_TIMES = (("started_at", "finished_at", "took"), ("queued_at", "checkpoint_at", "resume_at"))
_TECHNICAL = (("requests", "pages"), ("phase", "worker"))
"""The lines on the page of a run."""
_TOLD = ("missing", "tombstoned", "rejected", "created", "updated", "restored")
"""The counters for the title of that page, the most important first."""
_UNEVENTFUL: dict[str, Any] = dict.fromkeys((*_TOLD, "unlisted", "outdated", "to_approve"), 0)
_UNEVENTFUL |= {"state": State.SUCCEEDED, "ended_early": False, "needs_approval": "", "error_code": ""}
"""The columns of a run that changed nothing and had no problems."""


class ChangedFilter(KnownChoiceFilter):
    """By default, runs that changed nothing are not listed, unless they are unfinished or had problems."""

    title = _("result")
    parameter_name = "result"
    offered = (("all", _("All")),)
    by_default = _("Changed something")

    def queryset(self, request: HttpRequest, queryset: QuerySet[SyncRun]) -> QuerySet[SyncRun]:
        return queryset if self.value() else queryset.exclude(**_UNEVENTFUL)


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    """Watch sync runs; with the permission ``run_sync`` start, pause, resume, approve and cancel them."""

    ordering = ("-pk",)
    list_display = ("name", "state", "started_at", "took", "conversations", "problem")
    list_filter = (ChangedFilter, "state", "mode", WorkspaceFilter)
    own_list = NewestList
    own_views: ClassVar[Any] = {
        "start": "",
        **dict.fromkeys(("resume", "approve", "pause", "cancel"), "<int:run_id>/"),
    }

    def has_sync_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_orq.run_sync")

    def may_start(self, request: HttpRequest, workspace: str, mode: str) -> bool:
        """Whether the user may start a sync; without the permission to see runs, only an incremental one."""
        sees_new = mode == SyncRun.Mode.INCREMENTAL and page_of(request, self.admin_site, Conversation)
        may = self.has_sync_permission(request) and (sees_new or self.has_view_permission(request))
        return bool(may and self.may_use(request, workspace))

    # The list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        asked, aliases = request.GET.get("workspace", ""), self.get_workspaces(request)
        chosen = asked if asked in aliases else aliases[0] if len(aliases) == 1 else ""
        context = {"chosen_workspace": chosen, **ways_to_sync(request, self.admin_site, chosen)}
        context["panel"] = partial(sync_panel, chosen, is_operator=request.user.is_superuser)
        context["run_page"] = page_of(request, self.admin_site, SyncRun)
        response = self._framed(super().changelist_view(request, context | (extra_context or {})), "list")
        if listed := (getattr(response, "context_data", None) or {}).get("cl"):
            listed.result_list = list(listed.result_list)
            longest = max((run.seconds or 0 for run in listed.result_list), default=0)
            for run in listed.result_list:
                run.share = math.ceil(100 * (run.seconds or 0) / max(longest, 60))
        return response

    @admin.display(description=_("run"), ordering="pk")
    def name(self, run: SyncRun) -> str:
        return " ".join((f"#{run.pk}", *if_several(run.workspace), run.get_mode_display()))

    @admin.display(description=_("conversations"), ordering="seen")
    def conversations(self, run: SyncRun) -> str:
        """How many conversations were seen, created, updated and deleted."""
        names = ("seen", *(name for name in ("created", "updated", "tombstoned") if getattr(run, name)))
        return format_html_join(mark_safe("<br>"), "{}", ([_counted(run, name)] for name in names))  # our own tag

    @admin.display(description=_("duration"))
    def took(self, run: SyncRun) -> str:
        """In words; in the list also as a bar, which is as long as its share of the longest duration there."""
        if run.seconds is None:
            return ""
        bar = '{}<svg class="orq-bar" aria-hidden="true"><rect width="{}%" height="6"/></svg>'
        words, share = in_words(timedelta(seconds=run.seconds)), getattr(run, "share", None)
        return words if share is None else format_html(bar, words, share)

    @admin.display(description=_("remarks"))
    def problem(self, run: SyncRun) -> str:
        return " ".join(remarks(run, format_time=local))

    # The page of one run

    def own_fieldsets(self, request: HttpRequest, obj: SyncRun | None) -> list[Any]:
        zeros, place = _zeros(obj) if obj else [], ("is_complete", "head_id", "stop_id", "error_code")
        counters = [tuple(name for name in line if name not in zeros) for line in _COUNTERS]
        times = _TIMES[: 1 if obj and obj.is_finished else None]
        technical = (*_TIMES[len(times) :], *_TECHNICAL, *place)
        return [
            (None, {"fields": (*if_several("workspace"), "kind")}),
            (_("Conversations"), {"fields": (*filter(None, counters), "zero")}),
            (_("Times"), {"fields": times}),
            (_("Technical details"), {"fields": technical, "classes": ("collapse",)}),
        ]

    @admin.display(description=_("counts of zero"))
    def zero(self, run: SyncRun) -> str:
        """The counters that are left out above."""
        return ", ".join(str(label_for_field(name, SyncRun)) for name in _zeros(run))

    @admin.display(description=_("mode"))
    def kind(self, run: SyncRun) -> str:
        return explained(run.get_mode_display(), meaning_of_mode(run))

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the panel of a run's page with its state and buttons."""
        run, may_sync = context["original"], self.has_sync_permission(request)
        context |= {
            "extent": how_far(run),
            "intervals": how_far_each(run),
            "counts": counts(run),
            "meaning": meaning_of_state(run),
            "remarks": "\n".join(remarks(run, format_time=local)),
            "is_watched": _is_watched(run),
            "offers_pause": may_sync and _is_watched(run),
            "offers_cancel": may_sync and not run.is_finished,
            "offers_resume": may_sync and runs.can_be_resumed(run),
            "offers_approve": may_sync and runs.can_be_approved(run),
            "changes": self._changes(request, run),
            "rejected_page": page_of(request, self.admin_site, RejectedPayload, "changelist"),
            "title": _title(run),
            "missing": self._missing(request, run),
        }
        return self._framed(super().render_change_form(request, context, *args, **kwargs), "form")

    def _changes(self, request: HttpRequest, run: SyncRun) -> list[tuple[Any, str, str]]:
        """The counters that have changes on record: label, number, and URL of the list."""
        kinds = {"updated": [Kind.RENAMED, Kind.CHANGED], "restored": [Kind.RESTORED], "tombstoned": [Kind.DELETED]}
        of_run = partial(changes_url, request, self.admin_site, run.workspace, run__id__exact=run.pk)
        counted = [(name, count, of_run(kind__exact=kinds[name])) for name in kinds if (count := getattr(run, name))]
        return [(label_for_field(name, SyncRun), number(count), url) for name, count, url in counted if url]

    # The actions

    @method_decorator(require_POST)
    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Start or resume a run of ``mode`` in ``workspace``."""
        workspace, mode = request.POST.get("workspace", DEFAULT_ALIAS), request.POST.get("mode", "")
        if not self.may_start(request, workspace, mode):
            raise PermissionDenied
        try:
            started = start(workspace, runs.check_mode(mode))
        except (ImproperlyConfigured, ValueError) as error:
            self.message_user(request, explain_refusal(error), messages.ERROR)
            return self._leave(request)
        return self._tell(request, started)

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return self._act(request, run_id, lambda run: runs.can_be_resumed(run) and runs.resume(run), "Resumed.")

    @method_decorator(require_POST)
    def pause_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return self._act(request, run_id, lambda run: runs.pause(run) and run, "Paused.")

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def approve_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Approve a run that was stopped for review, after a confirmation."""
        if request.method == "POST":
            act = partial(runs.approve, reason=request.POST.get("reason", ""), by=request.user)
            return self._act(request, run_id, act, "Approved.")
        return self._ask(request, run_id, "approve", gettext("Approve a sync run"))

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def cancel_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Cancel a run, after a confirmation."""
        if request.method == "POST":
            return self._act(request, run_id, lambda run: runs.cancel(run) and run, "Cancelled.")
        return self._ask(request, run_id, "cancel", gettext("Cancel a sync run"))

    def _ask(self, request: HttpRequest, run_id: int, verb: str, title: str) -> HttpResponse:
        run = self._find(request, run_id)
        if run is None or not (runs.can_be_approved(run) if verb == "approve" else not run.is_finished):
            return self._say_too_late(request, run_id)
        missing, back = self._missing(request, run), kept(self, request, self._url_to("change", run.pk))
        context: dict[str, Any] = {"object": run, "back_url": back, "subtitle": str(run)}
        context |= {"counts": counts(run), "consequences": what_approval_does(run), "missing": missing}
        return self._render(request, f"{verb}_confirmation", title, **context)

    def _act(self, request: HttpRequest, run_id: int, act: Act, entry: str) -> HttpResponse:
        """Perform an action and report the state of the run. ``act`` returns the run, or nothing if it came too late.

        ``entry`` is for the history, which is stored in English.
        """
        run = self._find(request, run_id)
        try:
            changed = run and act(run)
        except (ImproperlyConfigured, ValueError) as error:
            self.message_user(request, explain_refusal(error), messages.WARNING)
            return self._leave(request, run)
        if not isinstance(changed, SyncRun):
            return self._say_too_late(request, run_id)
        self.log_change(request, changed, entry)
        changed = all_runs().get(pk=changed.pk)
        is_idle = changed.is_finished or changed.state == State.PAUSED
        return self._tell(request, Enqueued(run=changed) if is_idle else enqueue(changed))

    def _find(self, request: HttpRequest, run_id: int) -> SyncRun | None:
        """The run, if there is one that the user may change."""
        run: SyncRun | None = self.get_queryset(request).filter(pk=run_id).first()
        if not (self.has_sync_permission(request) and self.has_view_permission(request, run)):
            raise PermissionDenied
        return run

    def _missing(self, request: HttpRequest, run: SyncRun) -> str:
        """The URL of the list of missing conversations, if the user may see it; otherwise empty."""
        if not run.to_approve or not page_of(request, self.admin_site, Conversation):
            return ""
        has_missing = kept_rows(run.workspace).filter(indexed_state=ConversationState.MISSING).exists()
        state = ConversationState.MISSING if has_missing else ConversationState.UNLISTED
        url = url_to(self.admin_site, Conversation, "changelist")
        return f"{url}?{urlencode({'state': state, 'workspace': run.workspace})}"

    def _tell(self, request: HttpRequest, one: Enqueued) -> HttpResponse:
        level = messages.WARNING if one.is_not_enqueued or one.run.state == State.WAITING else messages.SUCCESS
        self.message_user(request, one.message(format_time=local), level)
        return self._leave(request, one.run)

    def _say_too_late(self, request: HttpRequest, run_id: int) -> HttpResponse:
        run = self._find(request, run_id)
        text = gettext("There is no sync run %(run)s. Old runs are deleted automatically.")
        if run is not None:
            text = gettext("Nothing was changed: sync run %(run)s is in the state “%(state)s”.")
        named = {"run": run_id, "state": run and run.get_state_display()}
        self.message_user(request, text % named, messages.WARNING)
        return self._leave(request, run)

    def _leave(self, request: HttpRequest, run: SyncRun | None = None) -> HttpResponse:
        """Redirect to the run's page, or to the conversations if the user may only see those."""
        if not self.has_view_permission(request):
            return HttpResponseRedirect(url_to(self.admin_site, Conversation, "changelist"))
        url = self._url_to("changelist") if run is None else self._url_to("change", run.pk)
        return HttpResponseRedirect(kept(self, request, url))


def _zeros(run: SyncRun) -> list[str]:
    return [name for name in chain(*_COUNTERS) if name != "seen" and not getattr(run, name)]


def _counted(run: SyncRun, counter: str) -> str:
    return f"{number(getattr(run, counter))} {label_for_field(counter, SyncRun)}"


def _title(run: SyncRun) -> str:
    """“Full sync 22: 1,801 checked, 700 missing”."""
    checked = gettext("%(count)s checked") % {"count": number(run.seen)}
    told = [_counted(run, name) for name in _TOLD if getattr(run, name)][:2]
    return f"{run.get_mode_display()} {run.pk}: {', '.join([checked, *told])}"


def _is_watched(run: SyncRun) -> bool:
    """Whether the run may change without user action."""
    return not run.is_finished and run.state != State.PAUSED
