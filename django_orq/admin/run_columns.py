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
from .texts import local, of_run

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
