"""Progress output of a sync: a bar on a terminal, plain lines elsewhere."""

import math
import time
from datetime import timedelta

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext as _

from ..models import SyncRun
from ..sync.report import counts, how_far
from ..text import in_words

_BAR_WIDTH = 24
_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Writes a run's progress to a stream."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._started = time.monotonic()
        self._last_line_at = self._started

    def show(self, run: SyncRun) -> None:
        if self._on_terminal:
            self._stream.write(f"\r{self._bar(run)} {self._counts(run)}\033[K", ending="")
            self._stream.flush()
        elif time.monotonic() - self._last_line_at >= _SECONDS_BETWEEN_LINES:
            self._last_line_at = time.monotonic()
            self._stream.write(self._counts(run))
            self._stream.flush()

    def wait(self, seconds: float, *, why: str) -> None:
        """Wait so many seconds: with a countdown on a terminal, or else after a line that says why."""
        if not self._on_terminal:
            self._stream.write(_("Waiting for %(time)s: %(why)s.") % {"time": _left(seconds), "why": why})
        while seconds > 0:
            if self._on_terminal:
                text = _("Waiting for %(time)s: %(why)s.") % {"time": _left(seconds), "why": why}
                self._stream.write(f"\r{text}\033[K", ending="")
            self._stream.flush()
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0

    def close(self) -> None:
        if self._on_terminal:
            self._stream.write("")

    def _bar(self, run: SyncRun) -> str:
        progress = how_far(run)
        # Until the length of the list is known, the bar stays empty and only the counters next to it change.
        done = progress.done * _BAR_WIDTH // progress.total if progress.total else _BAR_WIDTH * run.reached_end
        return f"[{'#' * done}{'.' * (_BAR_WIDTH - done)}]"

    def _counts(self, run: SyncRun) -> str:
        return f"{counts(run)}, {time.monotonic() - self._started:.0f} s"


def _left(seconds: float) -> str:
    """Whole seconds, rounded up, in words."""
    return in_words(timedelta(seconds=math.ceil(seconds)))
