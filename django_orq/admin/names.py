"""How conversations are called in sentences and titles."""

import unicodedata
from collections.abc import Sequence
from copy import copy

from django.utils.text import get_text_list
from django.utils.translation import get_language_bidi, gettext, ngettext

from ..models import Conversation

_MAX_NAMES = 10
_ISOLATE, _END = "\u2068", "\u2069"
_ISOLATES = dict.fromkeys(range(0x2066, 0x206A))
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "FSI", "PDF", "PDI"})
"""Classes of characters, in Unicode's algorithm, that may change the order of others."""


def isolated(name: str) -> str:
    """A name for use within a sentence, whose order it does not disturb, in whichever direction it is written.

    In a page that runs from left to right, a name that does so too stays as it is.
    """
    if not get_language_bidi() and _RIGHT_TO_LEFT.isdisjoint(map(unicodedata.bidirectional, name)):
        return name
    return f"{_ISOLATE}{name.translate(_ISOLATES)}{_END}"


def as_told(conversation: Conversation) -> Conversation:
    """A copy that calls itself as sentences and titles should; only to be shown."""
    told = copy(conversation)
    told.display_name = isolated(str(conversation))
    return told


def names(conversations: Sequence[Conversation]) -> str:
    """The first ones' names, in quotes, and how many more there are."""
    shown = [gettext("“%(name)s”") % {"name": isolated(str(row))} for row in conversations[:_MAX_NAMES]]
    more = len(conversations) - len(shown)
    if more:
        shown.append(ngettext("%(count)d more", "%(count)d more", more) % {"count": more})
    return str(get_text_list(shown, gettext("and")))
