"""Functions that change a conversation in Orq first and then write Orq's response to the row; we call them verbs.

Each verb sends its requests outside any transaction of ours. If Orq did not make the change, the verb raises an
``OrqError``, and the row changes only if Orq's response shows that it was out of date. Pass ``interactive=True`` in
web requests: then each request is attempted once, and all requests of the verb together may take 15 seconds. Otherwise
each request may take 60 seconds, including its retries. Afterwards the instance passed to a verb has the new values.
Pass ``by``, a user or a text such as ``"nightly import"``, to have it recorded with the change.

``operations`` calls the verbs for several conversations.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError
from django.utils.timezone import is_naive
from django.utils.translation import gettext

from .. import exceptions, logs
from ..conf import DEFAULT_ALIAS, get_workspace
from ..exceptions import ConversationChanged, ConversationNotFound, MirrorBehind, OrqError, OutcomeUnknown
from ..models import Conversation, ConversationChange
from ..payloads import RemoteConversation, clean_display_name, is_remote_id
from ..service import ConversationService
from ..store import rate_limits
from ..store.creations import newest_row
from ..store.database import DatabaseClock, all_rows, is_refusal, reason_of, write_database
from ..store.history import Request, Requester, name_between
from ..store.reconcile import mark_deleted, mark_missing, reconcile
from ..store.rules import Answer, Plan

__all__ = ["Renamed", "create_conversation", "delete_conversation", "fetch_conversation", "refresh_conversation"]
__all__ += ["rename_conversation"]

Kind = ConversationChange.Kind
_Pair = tuple[RemoteConversation, RemoteConversation]
FRESH = timedelta(seconds=2)
"""The maximum age of the response that a rename relies on."""
MAX_COMPARISONS = 10
"""How often a row is compared with a response while other writers keep changing it; a user may be waiting."""


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """The result of a rename.

    Both names are ``None`` unless someone else renamed the conversation at the same moment.
    """

    conversation: Conversation
    replaced: str | None
    """A name that was set between our check and our rename, and that our rename replaced."""
    overtaken_by: str | None
    """A newer name that has already replaced ours."""
    was_ours: bool
    """``False`` if Orq had the name already, so that nothing was sent."""


def create_conversation(
    *, display_name: str, workspace: str = DEFAULT_ALIAS, by: Any = None, interactive: bool = False
) -> Conversation:
    """Create a conversation in Orq and mirror it.

    Raises ``InvalidName``, before anything is sent, if Orq would reject the name, and ``OutcomeUnknown`` if the
    conversation may have been created. Like every verb that changes something in Orq, raises ``MirrorBehind`` if Orq
    made the change but the row could not be updated.
    """
    clock, requester = DatabaseClock(write_database()), Requester.of(by)
    with _service(workspace, "create", clock, interactive=interactive) as service:
        newest = newest_row()
        answer = _ask(clock, lambda: service.create(display_name=display_name))
    (created,) = answer.conversations
    with _or_behind(workspace, "create", created.remote_id):
        if all_rows().filter(workspace=workspace, remote_id=created.remote_id, pk__lte=newest).exists():
            raise OutcomeUnknown(operation="create", reason="Orq's answer shows an older conversation")
        _mirror(answer, workspace, Request(kind=Kind.CREATED, by=requester))
        return _get(workspace, created.remote_id)


def rename_conversation(
    conversation: Conversation,
    *,
    display_name: str,
    expected_updated_at: datetime | None = None,
    by: Any = None,
    interactive: bool = False,
) -> Renamed:
    """Rename a conversation in Orq, unless it was changed since the caller last saw it, and mirror it.

    ``expected_updated_at`` is the ``remote_updated_at`` that the caller saw, by default the instance's. If Orq has a
    different time, mirrors the remote values and raises ``ConversationChanged`` with them. A different time does not
    matter if Orq already has the new name, or if it still has the instance's name and ``expected_updated_at`` is the
    instance's ``remote_updated_at``. Also raises ``InvalidName``, and ``ValueError`` for a time without a time zone,
    before anything is sent, ``ConversationNotFound``, and ``OutcomeUnknown`` if it may have been renamed.
    """
    name, requester = clean_display_name(display_name), Requester.of(by)
    expected = expected_updated_at or conversation.remote_updated_at
    if is_naive(expected):
        raise ValueError("expected_updated_at needs a time zone, as the remote_updated_at of a conversation has one.")
    clock = DatabaseClock(write_database())
    workspace, remote_id = conversation.workspace, conversation.remote_id
    with (
        _service(workspace, "update", clock, interactive=interactive) as service,
        _missing_if_not_found(conversation, clock),
    ):
        seen, answer = _rename_unless_changed(conversation, name, expected, service=service, clock=clock)
    with _or_behind(workspace, "update", remote_id, renamed=(seen, answer.conversations[0])):
        was_sent = answer.conversations[0] is not seen
        is_ours = was_sent or requester.repeats_since
        request = Request(kind=Kind.RENAMED, by=requester, seen=seen if was_sent else None) if is_ours else None
        plan = _mirror(answer, workspace, request)
        _reload(conversation)
        return _renamed(conversation, plan, seen, was_ours=bool(is_ours))


def delete_conversation(conversation: Conversation, *, by: Any = None, interactive: bool = False) -> bool:
    """Delete a conversation in Orq permanently; its row becomes a tombstone.

    Succeeds if Orq no longer has it, and then returns ``False``: somebody else had deleted it, or an attempt of ours
    whose answer was lost.
    """
    clock, requester, was_ours = DatabaseClock(write_database()), Requester.of(by), False
    asked_at = clock.now()
    with (
        _service(conversation.workspace, "delete", clock, interactive=interactive) as service,
        suppress(ConversationNotFound),
    ):
        service.delete(conversation_id=conversation.remote_id)
        was_ours = True
    with _or_behind(conversation.workspace, "delete", conversation.remote_id):
        mark_deleted(conversation, asked_at=asked_at, received_at=clock.latest(), by=requester, was_ours=was_ours)
        _reload(conversation)
        return was_ours


def refresh_conversation(conversation: Conversation, *, interactive: bool = False) -> None:
    """Mirror the conversation's current state in Orq.

    Raises ``ConversationNotFound`` if Orq does not have it. The row is then marked as missing, and the next full run
    checks whether it was deleted.
    """
    clock = DatabaseClock(write_database())
    with _missing_if_not_found(conversation, clock):
        _retrieve(conversation.workspace, conversation.remote_id, clock, interactive=interactive)
    _reload(conversation)


def fetch_conversation(*, remote_id: str, workspace: str = DEFAULT_ALIAS, interactive: bool = False) -> Conversation:
    """Mirror one conversation by its Orq id, whether or not it is mirrored already, and return its row.

    Raises ``ValueError``, before anything is sent, if ``remote_id`` is not a conversation id, and
    ``ConversationNotFound`` if Orq does not have it.
    """
    if not is_remote_id(remote_id):
        text = gettext("remote_id must be “conv_” and 26 lower-case letters or digits, not %(given)s")
        raise ValueError(text % {"given": repr(remote_id)[:100]})
    get_workspace(workspace)
    if known := all_rows().filter(workspace=workspace, remote_id=remote_id).first():
        refresh_conversation(known, interactive=interactive)
    else:
        _retrieve(workspace, remote_id, DatabaseClock(write_database()), interactive=interactive)
    return _get(workspace, remote_id)


def _retrieve(workspace: str, remote_id: str, clock: DatabaseClock, *, interactive: bool) -> None:
    with _service(workspace, "retrieve", clock, interactive=interactive) as service:
        answer = _ask(clock, lambda: service.retrieve(conversation_id=remote_id))
    _mirror(answer, workspace)


def _rename_unless_changed(
    conversation: Conversation, name: str, expected: datetime, *, service: ConversationService, clock: DatabaseClock
) -> tuple[RemoteConversation, Answer]:
    """Retrieve the conversation and rename it immediately; return what Orq had before, and its last response.

    Raises ``ConversationChanged`` if the conversation is not as the caller saw it.
    """
    remote_id = conversation.remote_id
    while True:
        current = _ask(clock, lambda: service.retrieve(conversation_id=remote_id))
        (seen,) = current.conversations
        if seen.display_name == name:
            return seen, current
        if _has_changed(seen, conversation, expected):
            _mirror(current, conversation.workspace)
            _reload(conversation)
            told = ("remote_id", "display_name", "updated_at", "updated_by_id")
            raise ConversationChanged(**{field: getattr(seen, field) for field in told})
        if clock.now() - current.received_at < FRESH:  # otherwise this process was suspended: check again
            answer = _ask(clock, lambda: service.update(conversation_id=remote_id, display_name=name))
            if answer.conversations[0].display_name != name:
                raise OutcomeUnknown(operation="update", reason="Orq's answer shows another name")
            return seen, answer


@contextmanager
def _service(alias: str, operation: str, clock: DatabaseClock, *, interactive: bool) -> Iterator[ConversationService]:
    """Yield the workspace's service, or raise ``MustWait``. If Orq asks us to wait in its response, record that."""
    rate_limits.check(alias, operation=operation, clock=clock)
    try:
        with ConversationService.for_workspace(alias, interactive=interactive) as service:
            yield service
    except OrqError as error:
        try:
            rate_limits.record_retry_after(alias, error, clock=clock)
        except DatabaseError:  # it must not hide the outcome of the request
            logs.log(logs.REQUEST_WAIT_NOT_KEPT, workspace=alias, error_code=error.code, exc_info=True)
        if error.leaves_doubt:
            logs.log(logs.REQUEST_UNKNOWN, workspace=alias, call=operation, error_code=error.code)
        raise


def _ask(clock: DatabaseClock, operation: Callable[[], RemoteConversation]) -> Answer:
    asked_at = clock.now()
    remote = operation()
    return Answer(conversations=[remote], asked_at=asked_at, received_at=clock.latest(), listed=False)


def _mirror(answer: Answer, workspace: str, request: Request | None = None) -> Plan:
    """Write the answer to its row, or raise a ``Problem`` that says why the database refuses it."""
    try:
        return reconcile(answer, workspace=workspace, request=request, attempts=MAX_COMPARISONS)
    except DatabaseError as error:
        if is_refusal(error):
            raise exceptions.Problem("row_refused", reason=reason_of(error)) from error
        raise


@contextmanager
def _or_behind(workspace: str, operation: str, remote_id: str, *, renamed: _Pair | None = None) -> Iterator[None]:
    """Raise ``MirrorBehind`` if the row cannot be updated: Orq made the change, so the request has not failed.

    ``renamed`` is the conversation before and after a rename; if the row has a third name, the rename replaced it.
    """
    try:
        yield
    except (exceptions.MirrorContended, exceptions.Problem, DatabaseError) as error:
        trouble = not isinstance(error, exceptions.MirrorContended)
        logs.log(logs.REQUEST_NOT_MIRRORED, workspace=workspace, call=operation, exc_info=trouble)
        replaced = _replaced_name(workspace, *renamed) if renamed else None
        raise MirrorBehind(operation=operation, remote_id=remote_id, replaced=replaced) from error


def _replaced_name(workspace: str, seen: RemoteConversation, ours: RemoteConversation) -> str | None:
    """Return the row's name if it is neither of these two and not newer than ours. ``None`` if the database fails."""
    with suppress(DatabaseError, Conversation.DoesNotExist):
        row = _get(workspace, ours.remote_id)
        is_other = row.display_name not in (seen.display_name, ours.display_name)
        return row.display_name if is_other and row.remote_updated_at <= ours.updated_at else None
    return None


@contextmanager
def _missing_if_not_found(conversation: Conversation, clock: DatabaseClock) -> Iterator[None]:
    asked_at = clock.now()
    try:
        yield
    except ConversationNotFound:
        mark_missing(conversation, asked_at=asked_at, received_at=clock.latest())
        _reload(conversation)
        raise


def _has_changed(seen: RemoteConversation, conversation: Conversation, expected: datetime) -> bool:
    """Return whether the conversation in Orq is no longer as the caller saw it.

    If the row has the time that the caller saw, only the name is compared, because a change of other fields does not
    matter. Otherwise any other remote time counts as a change, even an older one: Orq's data was restored from a
    backup, or the expected time never existed.
    """
    if seen.updated_at == expected:
        return False
    return expected != conversation.remote_updated_at or seen.display_name != conversation.display_name


def _renamed(conversation: Conversation, plan: Plan, seen: RemoteConversation, *, was_ours: bool) -> Renamed:
    """Return the result, with the names that other users set.

    They are only known if another process, such as a sync, changed the row after our check: then the row as it was
    before our response is compared with that response.
    """
    (change,) = plan.changes
    before, ours = change.row, change.remote
    replaced = overtaken_by = None
    if before is not None and before.remote_updated_at > seen.updated_at:
        is_ours = before.display_name == ours.display_name  # a sync mirrored our rename before we did
        if is_ours or before.remote_updated_at > ours.updated_at:
            overtaken_by = None if is_ours else before.display_name
            replaced = name_between(before, seen.updated_at, ours.updated_at)
        else:
            replaced = before.display_name
    if replaced in (seen.display_name, ours.display_name):
        replaced = None
    return Renamed(conversation=conversation, replaced=replaced, overtaken_by=overtaken_by, was_ours=was_ours)


def _get(workspace: str, remote_id: str) -> Conversation:
    return all_rows().get(workspace=workspace, remote_id=remote_id)


def _reload(conversation: Conversation) -> None:
    with suppress(Conversation.DoesNotExist):  # ``orq_prune`` has just deleted the tombstone
        conversation.refresh_from_db(using=write_database())
