"""Times as people say them: how long ago."""

from datetime import datetime

from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext

from ..durations import in_words


def ago(moment: datetime, *, now: datetime) -> str:
    """“1 minute ago” as markup, which holds the exact time as well."""
    text = gettext("%(time)s ago") % {"time": in_words(now - moment, depth=1)}
    exact = localize(localtime(moment))
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, text)
