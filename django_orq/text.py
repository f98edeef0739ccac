"""Numbers, durations and names as they are shown to users, and the marker of texts to be translated."""

import unicodedata
from datetime import datetime, timedelta

from django.utils.formats import number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext


def marked(text: str) -> str:
    """Return ``text`` itself, marked for translation. Django's ``gettext_noop`` would read the settings at import."""
    return text


def for_reader(text: str, *, is_operator: bool) -> str:
    """Return what happened (the first line of ``text``) and what to do about it (the second line, if there is one).

    That advice is for operators. Other readers, such as support staff, are told to ask the site's administrator.
    """
    happened, _line_break, advice = text.partition("\n")
    if advice and not is_operator:
        advice = gettext("Ask the site's administrator.")
    return f"{happened} {advice}".rstrip()


def number(count: int) -> str:
    """Return ``count`` with the thousands separators of the active language."""
    return number_format(count, force_grouping=True)


def in_words(length: timedelta, *, depth: int = 2) -> str:
    """Return “45 seconds” or “1 hour, 3 minutes”: at most ``depth`` units, seconds only below a minute."""
    if length < timedelta(minutes=1):
        seconds = max(0, int(length.total_seconds()))
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    later = datetime(2001, 1, 1) + length  # noqa: DTZ001 # any date will do: only the difference is used
    return timesince(later - length, later, depth=depth)


def is_blank(name: str) -> bool:
    """Return whether ``name`` has no visible character."""
    return all(unicodedata.category(character)[0] in "ZC" for character in name)
