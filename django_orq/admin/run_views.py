"""What a person does with sync runs: start them, let them go on, pause and cancel them, watch them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ..conf import workspace_aliases
from ..models import Conversation, ConversationState, SyncRun
from ..store.database import all_runs, write_database
from ..sync import holds, runs
from ..sync.report import counts, how_far
from ..tasks import HandedOver, hand_over, start
from .base import OrqAdmin, answer_progress, may_see, url_to
from .consequences import consequences
from .run_columns import live_values
from .texts import local

State = SyncRun.State


class RunViewsAdmin(OrqAdmin[SyncRun]):
    def own_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponse]] = {
            "go_on": self.go_on_view,
            "pause": self.pause_view,
            "cancel": self.cancel_view,
            "progress": self.progress_view,
        }
        of_one = [self._own_url(name, view, below="<int:run_id>/") for name, view in views.items()]
        return [self._own_url("start", self.start_view), *of_one]

    def has_sync_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_orq.run_sync")

    @method_decorator(require_POST)
    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Start a run of ``mode`` in ``workspace``, or in each if none is given; go on with those that are there."""
        self._check(request)
        mode, workspace = request.POST.get("mode", ""), request.POST.get("workspace", "")
        try:
            started = list(start([workspace] if workspace else workspace_aliases(), runs.check_mode(mode)))
        except (ImproperlyConfigured, ValueError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return self._leave(request)
        for one in started:
            if isinstance(one, HandedOver):
                self._tell(request, one)
            else:
                self.message_user(request, str(one), messages.ERROR)
        match started:
            case [HandedOver(run=run)]:
                return self._leave(request, run)
        return self._leave(request)

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def go_on_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Let a paused run go on; for a held one, which is a decision, ask first."""
        self._check(request)
        run = _find(run_id)
        if run is None:
            return self._leave_unknown(request, run_id)
        decided = request.method == "POST" and ("post" in request.POST or not holds.is_held(run))
        if holds.can_go_on(run) and not decided:
            title, missing = gettext("Let a sync run go on"), self._missing(request, run)
            return self._ask(request, run, "go_on", title, consequences=consequences(run), missing=missing)
        return self._go_on(request, run)

    def _go_on(self, request: HttpRequest, run: SyncRun) -> HttpResponse:
        if request.method != "POST":  # a page that was opened too late
            return self._say_too_late(request, run)
        is_under_way = _is_under_way(run)
        try:
            following = holds.go_on(run)
        except (ImproperlyConfigured, ValueError) as error:
            return self._say(request, run, str(error), messages.WARNING)
        handed_over = hand_over(following)
        if not is_under_way:
            self.log_change(request, run, "Let go on.")
        elif not (handed_over.is_others or handed_over.is_untold):
            self.log_change(request, run, "Handed over to a worker.")
        self._tell(request, handed_over)
        return self._leave(request, following)

    @method_decorator(require_POST)
    def pause_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        done = gettext("Sync run %(run)s is paused. It stays so until somebody lets it go on.")
        return self._stop(request, run_id, runs.pause, done=done, entry="Paused.")

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def cancel_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """End a run for good, after a question."""
        if request.method == "POST":
            done = gettext("Sync run %(run)s is cancelled. What it has brought over stays.")
            return self._stop(request, run_id, runs.cancel, done=done, entry="Cancelled.")
        self._check(request)
        run = _find(run_id)
        if run is None:
            return self._leave_unknown(request, run_id)
        if run.is_finished:
            return self._say_too_late(request, run)
        return self._ask(request, run, "cancel", gettext("Cancel a sync run"), counts=counts(run))

    def _stop(
        self, request: HttpRequest, run_id: int, stop: Callable[[SyncRun], bool], *, done: str, entry: str
    ) -> HttpResponse:
        """``entry`` goes into the history, so it is in English, as Django keeps it."""
        self._check(request)
        run = _find(run_id)
        if run is None:
            return self._leave_unknown(request, run_id)
        if not stop(run):
            return self._say_too_late(request, run)
        self.log_change(request, run, entry)
        return self._say(request, run, done % {"run": run.pk}, messages.SUCCESS)

    @method_decorator(require_GET)
    def progress_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """How far a run is, for the page that shows it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = _find(run_id)
        if run is None:
            raise Http404
        return answer_progress(
            how_far(run), is_finished=not is_watched(run), text=counts(run), fields=live_values(run)
        )

    def _check(self, request: HttpRequest) -> None:
        if not self.has_sync_permission(request):
            raise PermissionDenied

    def _ask(self, request: HttpRequest, run: SyncRun, verb: str, title: str, **more: Any) -> HttpResponse:
        return self._render(request, f"{verb}_confirmation", title, subtitle=str(run), object=run, **more)

    def _missing(self, request: HttpRequest, run: SyncRun) -> str:
        """Where the missing ones are listed, for whoever may look at them before the decision; else empty."""
        if not run.hold or not may_see(request, self.admin_site, Conversation):
            return ""
        url = url_to(self.admin_site, Conversation, "changelist")
        return f"{url}?{urlencode({'state': ConversationState.MISSING, 'workspace': run.workspace})}"

    def _tell(self, request: HttpRequest, handed_over: HandedOver) -> None:
        is_well = not handed_over.is_untold and handed_over.run.state != State.WAITING
        level = messages.SUCCESS if is_well else messages.WARNING
        self.message_user(request, handed_over.message(tell=local), level)

    def _say(self, request: HttpRequest, run: SyncRun, message: str, level: int) -> HttpResponse:
        self.message_user(request, message, level)
        return self._leave(request, run)

    def _say_too_late(self, request: HttpRequest, run: SyncRun) -> HttpResponse:
        run.refresh_from_db(using=write_database())
        message = gettext("Nothing was done: the state of sync run %(run)s is “%(state)s” already.")
        named = {"run": run.pk, "state": run.get_state_display()}
        return self._say(request, run, message % named, messages.WARNING)

    def _leave_unknown(self, request: HttpRequest, run_id: int) -> HttpResponse:
        message = gettext("There is no sync run %(run)s. Old runs are removed in time.")
        self.message_user(request, message % {"run": run_id}, messages.WARNING)
        return self._leave(request)

    def _leave(self, request: HttpRequest, run: SyncRun | None = None) -> HttpResponse:
        """For the run's page, or the nearest that the person may see."""
        if self.has_view_permission(request):
            url = self._url_to("changelist") if run is None else self._url_to("change", run.pk)
        elif may_see(request, self.admin_site, Conversation):
            url = url_to(self.admin_site, Conversation, "changelist")
        else:
            url = reverse("admin:index", current_app=self.admin_site.name)
        return HttpResponseRedirect(url)


def is_watched(run: SyncRun) -> bool:
    """Whether the run may change without a person's word."""
    return not run.is_finished and run.state != State.PAUSED


def _is_under_way(run: SyncRun) -> bool:
    """Whether nobody has to let it go on any more: it goes on already, or a run that continues it does."""
    unfinished = holds.newest_continuation(run) if run.is_finished else run
    return unfinished is not None and is_watched(unfinished)


def _find(run_id: int) -> SyncRun | None:
    return all_runs().filter(pk=run_id).first()
