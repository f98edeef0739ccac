"""Texts of the admin: outcomes of requests, meanings of states, names and times within sentences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.text import get_text_list
from django.utils.timezone import localtime, now
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from .. import exceptions
from ..exceptions import ConversationChanged, MirrorBehind, MustWait, OrqError, OutcomeUnknown, Problem
from ..models import Conversation, ConversationChange, ConversationState, Operation, OperationItem
from ..sync.report import people, person
from ..text import in_words

Verb, State = Operation.Verb, OperationItem.State
Kind, Origin = ConversationChange.Kind, ConversationChange.Origin
_MAX_NAMES = 10
_ISOLATE, _END = "\u2068", "\u2069"
_ISOLATES = dict.fromkeys(range(0x2066, 0x206A))
_SENTENCES = {
    Verb.CREATE: (
        _("Created."),
        _("The conversation was not created."),
        _("The conversation may have been created. Check the list after the next sync before you create it again."),
    ),
    Verb.RENAME: (
        _("Renamed."),
        _("The name was not changed."),
        _("The conversation may have been renamed. It is safe to rename it again."),
    ),
    Verb.DELETE: (
        _("Deleted."),
        _("The conversation was not deleted."),
        _("The conversation may have been deleted. It is safe to delete it again."),
    ),
    Verb.REFRESH: (_("Up to date."), _("The conversation was not refreshed."), ""),
}
"""The sentences for a success, a failure and an unknown outcome, on pages with a form and on those of operations."""


def explain_done(verb: str, note: Mapping[str, Any], *, behind: bool) -> str:
    """Say that the change succeeded, what ``note`` has of other people's, and whether the row is ``behind`` Orq."""
    said = [gettext("Orq had this name already.") if note.get("same") else str(_SENTENCES[Verb(verb)][0])]
    if replaced := note.get("replaced"):
        text = gettext("Someone else renamed it to “%(name)s” at the same time; your name has replaced that one.")
        said.append(text % {"name": isolated(replaced)})
    if overtaken := note.get("overtaken"):
        text = gettext("Someone else renamed it to “%(name)s” right afterwards.")
        said.append(text % {"name": isolated(overtaken)})
    if note.get("gone"):
        said.append(gettext("Orq did not have it any more."))
    if behind:
        said.append(gettext("This is not shown here yet. The next full sync shows it, if the database accepts it."))
    return " ".join(said)


def explain_refusal(error: Exception) -> str:
    """Say why the request was refused. Only operators are told what is wrong with the settings."""
    if isinstance(error, OrqError):
        return exceptions.explain(error.code, error.params, for_operator=False)
    return _cause("not_configured", {"problem": ""}) if isinstance(error, ImproperlyConfigured) else str(error)


def explain_error(verb: str, error: OrqError | ImproperlyConfigured) -> str:
    """Say that the change failed, or that its outcome is unknown, and why."""
    if isinstance(error, ImproperlyConfigured):
        error = Problem("not_configured", problem=str(error))
    return _explain(verb, error.code, error.params, is_doubtful=error.leaves_doubt, retry_after=error.retry_after)


def explain_item(item: OperationItem) -> str:
    """The outcome for one conversation of an operation, or its state while there is none yet."""
    verb, note, is_doubtful = item.operation.verb, item.note, item.state == State.UNKNOWN
    if item.state in (State.PENDING, State.SENT):
        return str(item.get_state_display())
    if item.state == State.DONE:
        done = explain_done(verb, note, behind=item.error_code == MirrorBehind.code)
        return " ".join([done, gettext("(Matched by name and time.)")]) if "candidates" in note else done
    wait = note.get("retry_after")
    why = _explain(verb, item.error_code, item.error_params, is_doubtful=is_doubtful, retry_after=wait)
    if (candidates := note.get("candidates")) is not None:
        found = _("Conversations that may be the result:") if candidates else _("No likely one was found since.")
        return f"{why} {found}"
    return gettext("Skipped after an earlier failure: %(why)s") % {"why": why} if note.get("skipped") else why


def _explain(verb: str, code: str, params: Mapping[str, Any], *, is_doubtful: bool, retry_after: float | None) -> str:
    _done, undone, doubtful = _SENTENCES[Verb(verb)]
    said = [_cause(code, params), doubtful] if is_doubtful else [undone, _cause(code, params)]
    if code == exceptions.ConversationNotFound.code:
        said.append(gettext("It is marked as missing or deleted here."))
    if retry_after:
        seconds = math.ceil(retry_after) if retry_after < 60 else 60 * math.ceil(retry_after / 60)
        time = in_words(timedelta(seconds=seconds)).replace("\xa0", " ")
        said.append(gettext("Try again in %(time)s.") % {"time": time})
    elif code in (exceptions.RateLimited.code, exceptions.ServerError.code) and not is_doubtful:
        said.append(gettext("Try again later."))
    return " ".join(str(sentence) for sentence in said if sentence)


def _cause(code: str, params: Mapping[str, Any]) -> str:
    if code == OutcomeUnknown.code:
        return gettext("The outcome is unknown (%(reason)s).") % params
    if code == MustWait.code:  # the time to wait is added by the caller
        return gettext("Orq is limiting the number of requests at the moment.")
    if code == ConversationChanged.code:
        name = isolated(params["display_name"])
        return gettext("It was changed in Orq after you opened the page. Its name is “%(name)s” now.") % {"name": name}
    return exceptions.explain(code, params, for_operator=False)


def explain_conflict(change: ConversationChanged, workspace: str) -> str:
    """The error beside the name field after someone else renamed the conversation."""
    who = person(change.updated_by_id, people(workspace, [change.updated_by_id])) or gettext("someone else")
    text = gettext("Changed in Orq %(ago)s ago by %(who)s. The name is “%(name)s” now.")
    return text % {"name": isolated(change.display_name), "ago": in_words(now() - change.updated_at), "who": who}


_CHANGES = {
    Kind.CREATED: _("created “%(new)s”"),
    Kind.RENAMED: _("renamed “%(old)s” to “%(new)s”"),
    Kind.CHANGED: _("changed metadata (%(fields)s)"),
    Kind.DELETED: _("deleted “%(old)s”"),
    Kind.RESTORED: _("restored “%(new)s”"),
}


def name_all(workspace: str, changes: Iterable[Any], *ids: str | None) -> dict[str, str]:
    """Set ``who`` of changes, and return the names of people in Orq, also of those with other ids."""
    in_orq = [change.actor_id for change in changes if change.origin == Origin.ORQ]
    names = people(workspace, [*in_orq, *ids])
    for change in changes:
        change.who = person(change.actor_id, names) if change.origin == Origin.ORQ else change.actor_name
    return names


def told_change(change: Any) -> str:
    """Say who made which change, for example “admin renamed “Refund” to “Refund paid””."""
    named = {"old": isolated(change.old_name or ""), "new": isolated(change.new_name or "")}
    what = _CHANGES[change.kind] % {**named, "fields": ", ".join(change.fields)}
    told = {
        (Origin.HERE, True): _("%(who)s %(what)s"),
        (Origin.HERE, False): _("%(what)s (by a program of this site)"),
        (Origin.ORQ, True): _("%(what)s in Orq by %(who)s"),
        (Origin.ORQ, False): _("%(what)s in Orq"),
    }
    return str(told[change.origin, bool(change.who)]) % {"who": change.who, "what": what}


OF_CONVERSATIONS: dict[str, Any] = {
    ConversationState.LIVE: _("It exists in Orq."),
    ConversationState.UNLISTED: _("It exists in Orq, but Orq's list omits it."),
    ConversationState.MISSING: _(
        "It was not found when it was last looked for, so it may have been deleted. The next full sync looks it up in "
        "Orq and marks it as deleted if it no longer exists. If many are missing, a person has to approve that first."
    ),
    ConversationState.DELETED: _(
        "It was deleted in Orq, with its messages. It is kept here, read-only, for the records that refer to it."
    ),
}


def explained(word: Any, meaning: Any) -> str:
    """A value with its help text, as the admin shows them."""
    return format_html('{}<div class="help">{}</div>', word, meaning)


def isolated(name: str) -> str:
    """A name for use within a sentence, isolated so that its writing direction does not affect the rest."""
    return f"{_ISOLATE}{name.translate(_ISOLATES)}{_END}"


def as_told(conversation: Conversation) -> Conversation:
    """A copy to be shown, with its name isolated for sentences and titles."""
    told = copy(conversation)
    told.display_name = isolated(str(conversation))
    return told


def quoted(conversations: Sequence[Conversation]) -> str:
    """The names of the first conversations in quotes, and how many more there are."""
    shown = [gettext("“%(name)s”") % {"name": isolated(str(row))} for row in conversations[:_MAX_NAMES]]
    if more := len(conversations) - len(shown):
        shown.append(ngettext("%(count)d more", "%(count)d more", more) % {"count": more})
    return str(get_text_list(shown, gettext("and")))


def local(moment: datetime) -> str:
    """A time in the reader's time zone and language."""
    return str(localize(localtime(moment)))


def ago(moment: datetime, *, now: datetime) -> str:
    """“1 minute ago” as markup that also has the exact time."""
    text = gettext("%(time)s ago") % {"time": in_words(now - moment, depth=1)}
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), local(moment), text)
