"""Times as people say them: how long ago."""

from datetime import datetime

from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext

from ..text import in_words


def local(moment: datetime) -> str:
    """In the reader's time zone and language."""
    return str(localize(localtime(moment)))


def ago(moment: datetime, *, now: datetime) -> str:
    """“1 minute ago” as markup, which holds the exact time as well."""
    text = gettext("%(time)s ago") % {"time": in_words(now - moment, depth=1)}
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), local(moment), text)
