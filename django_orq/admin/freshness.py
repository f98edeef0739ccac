"""How fresh the mirror is, above the list of what it holds."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext

from ..models import Conversation, SyncRun
from ..store.database import DatabaseClock, write_database
from ..sync import runs
from .base import OrqAdmin, url_to
from .times import ago
from .users import may_see
from .workspaces import known_aliases


@dataclass(frozen=True, kw_only=True)
class WorkspaceFreshness:
    """What is said of one workspace, as markup."""

    workspace: str
    new: str
    everything: str
    last: str
    """How the run that ended last did; empty if there is none."""
    under_way: list[str]


class FreshnessAdmin(OrqAdmin[Conversation]):
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context: dict[str, Any] = {"freshness": [], "chosen_workspace": chosen_workspace(request)}
        if request.method == "GET":
            context["freshness"] = _freshness(request, self.admin_site)
        return super().changelist_view(request, context | (extra_context or {}))


def chosen_workspace(request: HttpRequest) -> str:
    """The alias by which the list is filtered; empty if it is not."""
    alias = request.GET.get("workspace", "")
    return alias if alias in known_aliases() else ""


def _freshness(request: HttpRequest, site: admin.AdminSite) -> list[WorkspaceFreshness]:
    now = DatabaseClock(write_database()).now()
    chosen = chosen_workspace(request)
    name = partial(_link, site=site) if may_see(request, site, SyncRun) else _name
    return [_describe(alias, now=now, name=name) for alias in ([chosen] if chosen else known_aliases())]


def _describe(workspace: str, *, now: datetime, name: Callable[[SyncRun], str]) -> WorkspaceFreshness:
    fresh = runs.freshness(workspace)
    last = runs.newest_finished(workspace)
    return WorkspaceFreshness(
        workspace=workspace,
        new=_when(fresh.new, now),
        everything=_when(fresh.everything, now),
        last="" if last is None else format_html("{}, {}", name(last), _when(last.finished_at, now)),
        under_way=[name(run) for run in runs.under_way(workspace)],
    )


def _when(moment: datetime | None, now: datetime) -> str:
    return gettext("never") if moment is None else ago(moment, now=now)


def _name(run: SyncRun) -> str:
    words = {"mode": run.get_mode_display(), "run": run.pk, "state": run.get_state_display()}
    return gettext("%(mode)s run %(run)s %(state)s") % words


def _link(run: SyncRun, *, site: admin.AdminSite) -> str:
    return format_html('<a href="{}">{}</a>', url_to(site, SyncRun, "change", run.pk), _name(run))
