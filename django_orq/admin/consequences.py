"""What follows from letting a run go on, for the person who is to decide."""

from django.utils.translation import gettext, ngettext

from ..models import SyncRun
from ..store.database import kept_rows
from ..sync.confirm import would_confirm
from ..sync.report import counts
from ..text import number
from .lists import MAX_LISTED


def consequences(run: SyncRun) -> list[str]:
    """Why it stands still, and what it does if it goes on; a paragraph each."""
    if run.hold:
        return [_held(run), _looked_up(would_confirm(run))]
    if run.is_finished:
        return [run.error_message, _vouched(), _at_stake(run.workspace)]
    return [gettext("It goes on from its last page. So far: %(counts)s.") % {"counts": counts(run)}]


def _held(run: SyncRun) -> str:
    text = ngettext(
        "%(count)s missing conversation was held back, because %(reason)s.",
        "%(count)s missing conversations were held back, because %(reason)s.",
        run.held,
    )
    return text % {"count": number(run.held), "reason": run.get_hold_display()}


def _looked_up(count: int) -> str:
    if not count:
        return gettext("None of them is missing any more: if you let it go on, a new sync run finds nothing to do.")
    text = ngettext(
        "If you let it go on, a new sync run asks Orq for the %(count)s conversation that is still missing. If Orq "
        "does not know it, it is marked as deleted here; if Orq has it, it stays. What went missing later is left "
        "alone. In Orq itself, nothing is changed.",
        "If you let it go on, a new sync run asks Orq for each of the %(count)s conversations that are still missing. "
        "Those that Orq does not know are marked as deleted here, however many they are; those that Orq has stay. "
        "What went missing later is left alone. In Orq itself, nothing is changed.",
        count,
    )
    return text % {"count": number(count)}


def _vouched() -> str:
    return gettext(
        "If you let it go on, you vouch that key and address are those of this workspace: a new full sync run goes "
        "through all of Orq’s list and brings over what it finds."
    )


def _at_stake(workspace: str) -> str:
    """Counted no further than the lists of the admin do."""
    here = kept_rows(workspace)
    count = here[: MAX_LISTED + 1].count()
    if count > MAX_LISTED:
        return gettext(
            "Of the more than %(count)s conversations that are here now, those that Orq does not know may be marked "
            "as deleted here. In Orq itself, nothing is changed."
        ) % {"count": number(MAX_LISTED)}
    text = ngettext(
        "The %(count)s conversation that is here now may be marked as deleted here, if Orq does not know it. In Orq "
        "itself, nothing is changed.",
        "Of the %(count)s conversations that are here now, those that Orq does not know may be marked as deleted "
        "here. In Orq itself, nothing is changed.",
        count,
    )
    return text % {"count": number(count)}
