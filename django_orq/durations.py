"""Lengths of time as people say them."""

from datetime import datetime, timedelta

from django.utils.timesince import timesince
from django.utils.translation import ngettext


def in_words(length: timedelta, *, depth: int = 2) -> str:
    """“45 seconds”, “1 hour, 3 minutes”: in at most ``depth`` units, to the minute from one minute on."""
    if length < timedelta(minutes=1):
        seconds = max(0, int(length.total_seconds()))
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    later = datetime(2001, 1, 1) + length  # noqa: DTZ001 # any day will do: the two are only subtracted
    return timesince(later - length, later, depth=depth)
