"""Sync runs in the admin: their list, the page of one, and what a person does with them."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import display_for_field, display_for_value, label_for_field, lookup_field
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ..conf import workspace_aliases
from ..models import Conversation, ConversationState, RejectedPayload, SyncRun
from ..store.database import all_runs
from ..sync import runs
from ..sync.report import counts, how_far, meaning_of_mode, meaning_of_state, remarks, what_approval_does
from ..tasks import Enqueued, enqueue, start
from ..text import in_words, number
from .base import ReadOnlyAdmin, answer_progress, if_several, may_see, url_to
from .lists import WorkspaceFilter, chosen_workspace
from .rejected import met_last
from .texts import explained, local

State = SyncRun.State
Act = Callable[[SyncRun], SyncRun | bool | None]

_MAX_REMARKS = 400
"""Characters in the list; the page of a run has all of them."""
_COUNTERS = (
    ("seen", "created", "updated", "unchanged"),
    ("missing", "tombstoned", "unlisted", "to_approve"),
    ("restored", "rejected", "skipped", "outdated"),
)
_TIMES = (("queued_at", "started_at", "finished_at"), ("checkpoint_at", "resume_at", "took"))
_TECHNICAL = (("requests", "pages"), ("phase", "worker"))
_LIVE = tuple(chain(*_COUNTERS, *_TIMES, *_TECHNICAL))
"""Columns that the page of a run renews; the lines above are those that they share there."""


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin[SyncRun]):
    """Watch sync runs; with the permission ``run_sync`` start, pause, resume, approve and cancel them."""

    ordering = ("-pk",)
    list_display = ("name", "state", "started_at", "took", "conversations", "problem")
    readonly_fields = ("kind", "took", "worker")

    def own_urls(self) -> list[URLPattern]:
        views = ("resume", "approve", "pause", "cancel", "progress")
        of_one = [self._own_url(name, getattr(self, f"{name}_view"), below="<int:run_id>/") for name in views]
        return [self._own_url("start", self.start_view), *of_one]

    def has_sync_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_orq.run_sync")

    # The list

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("state", "mode", *if_several(WorkspaceFilter))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"chosen_workspace": chosen_workspace(request), "may_sync": self.has_sync_permission(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description=_("run"), ordering="pk")
    def name(self, run: SyncRun) -> str:
        return " ".join((f"#{run.pk}", *if_several(run.workspace), run.get_mode_display()))

    @admin.display(description=_("conversations"), ordering="seen")
    def conversations(self, run: SyncRun) -> str:
        """How many were seen, and with how many something was done."""
        names = ("seen", *(name for name in ("created", "updated", "tombstoned") if getattr(run, name)))
        lines = ((number(getattr(run, name)), label_for_field(name, SyncRun)) for name in names)
        return format_html_join(mark_safe("<br>"), "{} {}", lines)  # our own tag

    @admin.display(description=_("took"))
    def took(self, run: SyncRun) -> str:
        return in_words(run.finished_at - run.started_at) if run.started_at and run.finished_at else ""

    @admin.display(description=_("remarks"))
    def problem(self, run: SyncRun) -> str:
        return Truncator(" ".join(remarks(run, format_time=local))).chars(_MAX_REMARKS)

    # The page of one

    def get_fieldsets(self, request: HttpRequest, obj: SyncRun | None = None) -> Any:
        place = ("is_complete", "cursor", "head_id", "stop_id", "error_code")
        return [
            (None, {"fields": (*if_several("workspace"), "kind")}),
            (_("Conversations"), {"fields": _COUNTERS}),
            (_("Times"), {"fields": _TIMES}),
            (_("Technical details"), {"fields": (*_TECHNICAL, *place), "classes": ("collapse",)}),
        ]

    @admin.display(description=_("kind"))
    def kind(self, run: SyncRun) -> str:
        return explained(run.get_mode_display(), meaning_of_mode(run))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With the head of a run's page: what it shows and offers."""
        run, may_sync = context["original"], self.has_sync_permission(request)
        context |= {
            "extent": how_far(run),
            "counts": counts(run),
            "meaning": meaning_of_state(run),
            "remarks": "\n".join(remarks(run, format_time=local)),
            "is_watched": _is_watched(run),
            "offers_pause": may_sync and _is_watched(run),
            "offers_cancel": may_sync and not run.is_finished,
            "offers_resume": may_sync and run.state == State.PAUSED,
            "offers_approve": may_sync and runs.can_be_approved(run),
            "unreadable": met_last(run) if may_see(request, self.admin_site, RejectedPayload) else [],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @method_decorator(require_GET)
    def progress_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """How far a run is, for the page that shows it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = _find(run_id)
        if run is None:
            raise Http404
        values = {name: self._shown(run, name) for name in ("state", *_LIVE)}
        values |= {"meaning": meaning_of_state(run), "remarks": "\n".join(remarks(run, format_time=local))}
        return answer_progress(how_far(run), is_finished=not _is_watched(run), text=counts(run), fields=values)

    def _shown(self, run: SyncRun, name: str) -> str:
        """As the stock page shows a column."""
        field, _attribute, value = lookup_field(name, run, self)
        empty = self.get_empty_value_display()
        return str(display_for_field(value, field, empty) if field else display_for_value(value, empty))

    # What a person does

    @method_decorator(require_POST)
    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Start a run of ``mode`` in ``workspace``, or in each if none is given; go on with those that are there."""
        self._check(request)
        mode, workspace = request.POST.get("mode", ""), request.POST.get("workspace", "")
        try:
            aliases = [workspace] if workspace else workspace_aliases()
            started: list[Enqueued | Exception] = [*start(aliases, runs.check_mode(mode))]
        except (ImproperlyConfigured, ValueError) as error:
            started = [error]
        for one in started:
            self._tell(request, one)
        runs_started = [one.run for one in started if isinstance(one, Enqueued)]
        return self._leave(request, runs_started[0] if len(started) == len(runs_started) == 1 else None)

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return self._act(request, run_id, lambda run: run.state == State.PAUSED and runs.resume(run), "Resumed.")

    @method_decorator(require_POST)
    def pause_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return self._act(request, run_id, lambda run: runs.pause(run) and run, "Paused.")

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def approve_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Reopen a run that was stopped for review, after a question."""
        if request.method == "POST":
            act = partial(runs.approve, reason=request.POST.get("reason", ""), by=request.user.get_username())
            return self._act(request, run_id, act, "Approved.")
        return self._ask(request, run_id, "approve", gettext("Approve a sync run"))

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def cancel_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """End a run for good, after a question."""
        if request.method == "POST":
            return self._act(request, run_id, lambda run: runs.cancel(run) and run, "Cancelled.")
        return self._ask(request, run_id, "cancel", gettext("Cancel a sync run"))

    def _ask(self, request: HttpRequest, run_id: int, verb: str, title: str) -> HttpResponse:
        self._check(request)
        run = _find(run_id)
        if run is None or not (run.needs_approval if verb == "approve" else not run.is_finished):
            return self._say_too_late(request, run_id)
        missing = self._missing(request, run)
        context = {"counts": counts(run), "consequences": what_approval_does(run), "missing": missing}
        return self._render(request, f"{verb}_confirmation", title, subtitle=str(run), object=run, **context)

    def _act(self, request: HttpRequest, run_id: int, act: Act, entry: str) -> HttpResponse:
        """Do it and say what has become of the run. ``act`` returns the run, or nothing if it comes too late.

        ``entry`` goes into the history, so it is in English, as Django keeps it.
        """
        self._check(request)
        run = _find(run_id)
        try:
            changed = run and act(run)
        except (ImproperlyConfigured, ValueError) as error:
            self.message_user(request, str(error), messages.WARNING)
            return self._leave(request, run)
        if not isinstance(changed, SyncRun):
            return self._say_too_late(request, run_id)
        self.log_change(request, changed, entry)
        self._tell(request, enqueue(all_runs().get(pk=changed.pk)))
        return self._leave(request, changed)

    def _check(self, request: HttpRequest) -> None:
        if not self.has_sync_permission(request):
            raise PermissionDenied

    def _missing(self, request: HttpRequest, run: SyncRun) -> str:
        """Where the missing ones are listed, for whoever may look at them before the decision; else empty."""
        if not run.to_approve or not may_see(request, self.admin_site, Conversation):
            return ""
        url = url_to(self.admin_site, Conversation, "changelist")
        return f"{url}?{urlencode({'state': ConversationState.MISSING, 'workspace': run.workspace})}"

    def _tell(self, request: HttpRequest, one: Enqueued | Exception) -> None:
        if isinstance(one, Enqueued):
            is_well = not one.is_not_enqueued and one.run.state != State.WAITING
            level = messages.SUCCESS if is_well else messages.WARNING
            self.message_user(request, one.message(format_time=local), level)
        else:
            self.message_user(request, str(one), messages.ERROR)

    def _say_too_late(self, request: HttpRequest, run_id: int) -> HttpResponse:
        run = _find(run_id)
        if run is None:
            message = gettext("There is no sync run %(run)s. Old runs are removed in time.") % {"run": run_id}
        else:
            text = gettext("Nothing was done: the state of sync run %(run)s is “%(state)s” already.")
            message = text % {"run": run.pk, "state": run.get_state_display()}
        self.message_user(request, message, messages.WARNING)
        return self._leave(request, run)

    def _leave(self, request: HttpRequest, run: SyncRun | None = None) -> HttpResponse:
        """For the run's page, or the nearest that the person may see."""
        if self.has_view_permission(request):
            url = self._url_to("changelist") if run is None else self._url_to("change", run.pk)
        elif may_see(request, self.admin_site, Conversation):
            url = url_to(self.admin_site, Conversation, "changelist")
        else:
            url = reverse("admin:index", current_app=self.admin_site.name)
        return HttpResponseRedirect(url)


def _find(run_id: int) -> SyncRun | None:
    return all_runs().filter(pk=run_id).first()


def _is_watched(run: SyncRun) -> bool:
    """Whether the run may change without a person's word."""
    return not run.is_finished and run.state != State.PAUSED
