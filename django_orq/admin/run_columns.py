"""A run's columns as its page shows them, and as the page's script renews them."""

from collections.abc import Callable
from itertools import chain
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_field
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ..models import SyncRun
from ..store.database import DatabaseClock, write_database
from ..store.leases import process_in_words
from ..sync.report import remarks
from ..text import in_words, number
from .texts import local

Shown = Callable[[SyncRun], str]

EMPTY = "-"
COUNTERS = (
    ("seen", "created", "updated", "unchanged"),
    ("missing", "tombstoned", "unlisted", "held"),
    ("restored", "rejected", "skipped", "outdated"),
)
TIMES = (
    ("queued_at", "started_at", "finished_at"),
    ("checkpoint_at", "resume_at", "duration"),
)
TECHNICAL = (("requests", "pages"), ("phase", "walker"))
"""In the lines that they share."""
_COLUMNS = tuple(chain(*COUNTERS, *TIMES, *TECHNICAL))


_OF_MODES = {
    SyncRun.Mode.INCREMENTAL: _(
        "It looks for new conversations, from the newest on until it meets those that are known."
    ),
    SyncRun.Mode.FULL: _("It goes through all of Orq’s list, and finds renamed and deleted conversations too."),
    SyncRun.Mode.CONFIRM: _("It asks Orq for each of the missing conversations that an earlier run had held back."),
}
_OF_RUNS = {
    SyncRun.State.QUEUED: _("It waits for a worker to take it."),
    SyncRun.State.WAITING: _("It rests, and goes on by itself."),
    SyncRun.State.PAUSED: _("Somebody has stopped it. It goes on from there as soon as somebody lets it."),
    SyncRun.State.SUCCEEDED: _("It has come to its end, and nothing was left open."),
    SyncRun.State.PARTIAL: _("It has come to its end, but something was left open:"),
    SyncRun.State.FAILED: _("It broke off. What it had brought over until then is here; the next sync starts anew."),
    SyncRun.State.CANCELLED: _("Somebody has ended it. What it had brought over until then is here."),
}
_OF_PHASES = {
    SyncRun.Phase.WALK: _("A worker goes through Orq’s list."),
    SyncRun.Phase.CONFIRM: _("A worker asks Orq for the conversations that are missing, one by one."),
}


def of_run(run: SyncRun) -> str:
    """What it means that a run is in its state."""
    is_running = run.state == SyncRun.State.RUNNING
    return str(_OF_PHASES[SyncRun.Phase(run.phase)] if is_running else _OF_RUNS[SyncRun.State(run.state)])


def of_mode(run: SyncRun) -> str:
    """What a run of its kind does."""
    return str(_OF_MODES[SyncRun.Mode(run.mode)])


def live_values(run: SyncRun) -> dict[str, str]:
    values = {name: shown(run, name) for name in ("state", *_COLUMNS)}
    return values | {"meaning": of_run(run), "remarks": "\n".join(remarks_on(run))}


def remarks_on(run: SyncRun) -> list[str]:
    """What a person should know of it."""
    return remarks(run, tell=local)


def shown(run: SyncRun, name: str) -> str:
    if name == "duration":
        return duration(run)
    value = getattr(run, name)
    if name == "walker":
        return process_in_words(value) or EMPTY
    if isinstance(value, int):
        return number(value)
    return str(display_for_field(value, SyncRun._meta.get_field(name), EMPTY)) or EMPTY  # type: ignore[arg-type] # no relation


def duration(run: SyncRun) -> str:
    """From the start to the end, or to now."""
    if run.started_at is None:
        return EMPTY
    return in_words((run.finished_at or DatabaseClock(write_database()).now()) - run.started_at)


def live(name: str) -> Shown:
    """A column for the page of a run, in an element that the script finds."""

    @admin.display(description=label(name))
    def element(run: SyncRun) -> str:
        return format_html('<span data-field="{}">{}</span>', name, shown(run, name))

    element.__name__ = name
    return element


def label(name: str) -> Any:
    return _("took") if name == "duration" else SyncRun._meta.get_field(name).verbose_name  # type: ignore[union-attr] # no relation


LIVE = {name: live(name) for name in _COLUMNS}
"""All that the page of a run renews in its fields."""
