import json
from collections.abc import Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.text import get_text_list
from django.utils.translation import gettext, ngettext

from ..models import Conversation

_MAX_NAMES = 10


def pretty_json(content: Any) -> str:
    """Indented, as markup; nothing for what is empty."""
    if not content:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(content, indent=2, ensure_ascii=False))


def names(conversations: Sequence[Conversation]) -> str:
    """The first ones' names, in quotes, and how many more there are."""
    shown = [gettext("“%(name)s”") % {"name": conversation} for conversation in conversations[:_MAX_NAMES]]
    more = len(conversations) - len(shown)
    if more:
        shown.append(ngettext("%(count)d more", "%(count)d more", more) % {"count": more})
    return str(get_text_list(shown, gettext("and")))
