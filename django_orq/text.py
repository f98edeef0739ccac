"""Numbers, lengths of time and names as people read them, and the mark of what is to be translated."""

import unicodedata
from datetime import datetime, timedelta

from django.utils.formats import number_format
from django.utils.functional import lazy
from django.utils.timesince import timesince
from django.utils.translation import ngettext


def marked(text: str) -> str:
    """The text itself, marked for translation; Django's own ``gettext_noop`` asks the settings, at import."""
    return text


def number(count: int) -> str:
    """With its thousands apart, as the reader's language has them."""
    return number_format(count, force_grouping=True)


number_lazy = lazy(number, str)


def in_words(length: timedelta, *, depth: int = 2) -> str:
    """“45 seconds”, “1 hour, 3 minutes”: in at most ``depth`` units, to the minute from one minute on."""
    if length < timedelta(minutes=1):
        seconds = max(0, int(length.total_seconds()))
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    later = datetime(2001, 1, 1) + length  # noqa: DTZ001 # any day will do: the two are only subtracted
    return timesince(later - length, later, depth=depth)


def is_blank(name: str) -> bool:
    """Whether nothing of it can be seen."""
    return all(unicodedata.category(character)[0] in "ZC" for character in name)
