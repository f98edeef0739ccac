"""Times as people say them: how long ago, how long it took."""

from datetime import datetime, timedelta

from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext


def local(moment: datetime) -> str:
    """In the reader's time zone and language."""
    return str(localize(localtime(moment)))


def ago(moment: datetime, *, now: datetime) -> str:
    """“1 minute ago” as markup, which holds the exact time as well."""
    text = gettext("%(time)s ago") % {"time": in_words(now - moment, depth=1)}
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), local(moment), text)


def in_words(length: timedelta, *, depth: int = 2) -> str:
    """“45 seconds”, “1 hour, 3 minutes”: in at most ``depth`` units, to the minute from one minute on."""
    if length < timedelta(minutes=1):
        seconds = max(0, int(length.total_seconds()))
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    later = datetime(2001, 1, 1) + length  # noqa: DTZ001 # any day will do: the two are only subtracted
    return timesince(later - length, later, depth=depth)
