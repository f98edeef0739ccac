"""A run's columns as its page shows them, and as the page's script renews them."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_field
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ..clock import DatabaseClock
from ..models import SyncRun, write_database
from ..remarks import remarks
from .times import in_words

Shown = Callable[[SyncRun], str]

EMPTY = "-"
COUNTERS = (
    *("requests", "pages", "seen", "created", "updated", "unchanged", "restored", "skipped", "outdated"),
    *("missing", "unlisted", "tombstoned", "held", "rejected"),
)
TIMES = ("queued_at", "started_at", "checkpoint_at", "resume_at", "finished_at")
_STANDING = ("state", "phase", "walker")


def live_values(run: SyncRun) -> dict[str, str]:
    values = {name: shown(run, name) for name in (*_STANDING, *COUNTERS, *TIMES)}
    return values | {"duration": duration(run), "remarks": "\n".join(remarks(run))}


def shown(run: SyncRun, name: str) -> str:
    field = SyncRun._meta.get_field(name)
    return str(display_for_field(getattr(run, name), field, EMPTY)) or EMPTY  # type: ignore[arg-type] # no relation


def duration(run: SyncRun) -> str:
    """From the start to the end, or to now."""
    if run.started_at is None:
        return EMPTY
    return in_words((run.finished_at or DatabaseClock(write_database()).now()) - run.started_at)


def live(name: str) -> Shown:
    """A column for the page of a run, in an element that the script finds."""

    @admin.display(description=_label(name))
    def element(run: SyncRun) -> str:
        value = duration(run) if name == "duration" else shown(run, name)
        return format_html('<span data-field="{}">{}</span>', name, value)

    element.__name__ = name
    return element


def column(name: str, *, value: Shown | None = None) -> Shown:
    """A column for the list of runs, which says its name where the head of the table has no room."""
    label = _label(name)

    @admin.display(description=label, ordering="" if name == "duration" else name)
    def cell(run: SyncRun) -> str:
        return format_html('<span class="orq-label">{}: </span>{}', label, value(run) if value else shown(run, name))

    cell.__name__ = name
    return cell


def _label(name: str) -> Any:
    return _("duration") if name == "duration" else SyncRun._meta.get_field(name).verbose_name  # type: ignore[union-attr] # no relation
