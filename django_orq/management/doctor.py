"""Whether the mirror can work with a workspace's Orq server, asked of that server; writes nothing, there or here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db import DatabaseError
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ..conf import API_STYLES, MAX_PAGE_SIZE, RetryConfig, Workspace
from ..exceptions import (
    APIError,
    AuthenticationFailed,
    ConversationNotFound,
    CursorIgnored,
    MalformedResponse,
    OrqError,
    RateLimited,
)
from ..payloads import Page, RemoteConversation
from ..service import INTERACTIVE_SECONDS, ConversationService
from ..store import rate_limits
from ..store.database import DatabaseClock, kept_rows, write_database
from ..sync.walk import PROOFS
from ..text import number

VENDOR_URLS = ("https://my.orq.ai", "https://api.orq.ai")
UNKNOWN_ID = "conv_" + "0" * 26
"""Well formed, and of the first millisecond of 1970: no conversation has it."""
SHOWN = 5
"""Refused items that are told one by one."""


def examine(workspace: Workspace) -> Iterator["Finding"]:
    """Finding after finding; ends with the first after which no other makes sense."""
    with _service(workspace, workspace.api_style) as service:
        yield from _Examination(workspace, service=service).findings()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the examination."""

    text: str
    remedy: str = ""
    """What to do about it; empty if all is well."""


class _Examination:
    """Asks one thing after another of the configured base URL, all by GET, each once."""

    def __init__(self, workspace: Workspace, *, service: ConversationService) -> None:
        self._workspace = workspace
        self._service = service
        self._newest: str | None = None

    def findings(self) -> Iterator[Finding]:
        """Ends with the first answer after which no other makes sense."""
        try:
            yield from self._check_waits()
            page = self._service.list(limit=MAX_PAGE_SIZE)
            self._newest = max(page.ids, default=None)
            yield Finding(text=_("the API key is accepted"))
            yield _describe_list(page)
            yield from _check_items(page)
            if self._newest is not None:
                yield from self._check_conversations(page, self._newest)
                yield from self._check_mirror(page)
            yield from self._check_unknown_cursor()
        except OrqError as error:
            yield Finding(text=error.message, remedy=self._remedy(error))

    def _check_waits(self) -> Iterator[Finding]:
        """Raises ``MustWait`` while Orq wants to be left alone: this command asks it nothing then, either."""
        try:
            rate_limits.check(self._workspace.alias, operation="list", clock=DatabaseClock(write_database()))
        except DatabaseError as error:
            text = _("the database does not tell whether Orq asked us to wait (%(error)s)")
            text %= {"error": type(error).__name__}
            yield Finding(text=text, remedy=_("Check DATABASES, and run “manage.py migrate”."))
        else:
            yield Finding(text=_("no wait that Orq asked for is in force"))

    def _check_conversations(self, page: Page, newest: str) -> Iterator[Finding]:
        retrieved = self._retrieve(newest)
        yield _describe_retrieved(newest, retrieved)
        text = _("the objects look like those of %(dialect)s")
        yield Finding(text=text % {"dialect": _dialect(page, retrieved, self._workspace.api_style)})
        yield self._check_cursor(page, newest)

    def _check_mirror(self, page: Page) -> Iterator[Finding]:
        """Nothing if nothing is mirrored yet, or the database, as was said before, does not tell."""
        try:
            rows = kept_rows(self._workspace.alias)
            newest = list(rows.order_by("-remote_id").values_list("remote_id", flat=True)[:PROOFS])
            is_listed = rows.filter(remote_id__in=page.ids).exists()
        except DatabaseError:
            return
        if is_listed:
            yield Finding(text=_("the list shows conversations that are mirrored here"))
        elif any(self._retrieve(remote_id) for remote_id in newest):
            text = _("the list shows only new conversations; what is mirrored here can be retrieved")
            yield Finding(text=text)
        elif newest:
            yield Finding(
                text=_("the server knows nothing of what is mirrored here"),
                remedy=_(
                    "Check that API_KEY and BASE_URL are those of the workspace that is mirrored under this alias."
                ),
            )

    def _retrieve(self, remote_id: str) -> RemoteConversation | None:
        try:
            return self._service.retrieve(conversation_id=remote_id)
        except ConversationNotFound as error:
            if error.retry_after is not None:
                raise
            return None

    def _check_cursor(self, page: Page, newest: str) -> Finding:
        following = self._service.list(limit=1, starting_after=newest)
        if following.ids and max(following.ids) >= newest:
            raise CursorIgnored(operation="list", api_style=self._workspace.api_style, status=200)
        if following.ids:
            return Finding(text=_("the cursor advances (to %(id)s)") % {"id": following.ids[0]})
        if following.entries:
            reason = gettext_noop("a page of items without a single usable id")
            raise MalformedResponse(operation="list", reason=reason, status=200)
        if page.has_more or len(page.entries) > 1:
            return Finding(
                text=_("the page after the newest conversation is empty, though there are older ones"),
                remedy=_("Don't schedule syncs, which would end there; ask Orq's support about it."),
            )
        return Finding(text=_("the cursor is understood: nothing comes after the only conversation"))

    def _check_unknown_cursor(self) -> Iterator[Finding]:
        try:
            page = self._service.list(limit=1, starting_after=UNKNOWN_ID)
        except APIError as error:
            if error.retry_after is not None or isinstance(error, RateLimited):
                raise
            yield _describe_refused_cursor(error)
        else:
            if page.entries:
                yield Finding(text=_("an unknown cursor is answered with page one again, which a sync run bears"))
            else:
                yield Finding(text=_("an unknown cursor is answered with an empty page, which a sync run bears"))

    def _remedy(self, error: OrqError) -> str:
        if error.retry_after is not None:
            text = _("Orq wants to be asked again in %(seconds)s s, not before; run this command then.")
            return text % {"seconds": number(round(error.retry_after))}
        if isinstance(error, CursorIgnored) or (isinstance(error, APIError) and error.status in (400, 404)):
            return self._try_other_style()
        if isinstance(error, AuthenticationFailed):
            text = _("If the key is right, it may belong to %(urls)s: try that BASE_URL.")
            return text % {"urls": _other_urls(self._workspace.base_url)}
        if isinstance(error, MalformedResponse):
            return _("Check that BASE_URL is Orq's own address, and that no proxy or login page answers in its place.")
        if error.retryable:
            return _("Once that is settled, run this command again.")
        return _("Correct that, and run this command again.")

    def _try_other_style(self) -> str:
        """What the same server makes of the other dialect tells whether that is the cause."""
        other = next(style for style in API_STYLES if style != self._workspace.api_style)
        with _service(self._workspace, other) as service:
            if self._is_understood(service):
                return _("This server understands API_STYLE '%(style)s': set that.") % {"style": other}
        if self._newest is not None:
            text = _(
                "API_STYLE '%(style)s' does not help. If it stays so, ask Orq's support what it calls the cursor."
            )
            return text % {"style": other}
        text = _("API_STYLE '%(style)s' does not help. Check BASE_URL; Orq's own address may be %(urls)s: try that.")
        return text % {"style": other, "urls": _other_urls(self._workspace.base_url)}

    def _is_understood(self, service: ConversationService) -> bool:
        try:
            page = service.list(limit=1, starting_after=self._newest)
        except OrqError:
            return False
        return self._newest is None or max(page.ids, default="") < self._newest


def _service(workspace: Workspace, api_style: str) -> ConversationService:
    return ConversationService(
        api_key=workspace.api_key,
        base_url=workspace.base_url,
        api_style=api_style,
        connect_timeout=workspace.connect_timeout,
        read_timeout=workspace.read_timeout,
        retries=RetryConfig(attempts=1),
        total_seconds=INTERACTIVE_SECONDS,
    )


def _describe_list(page: Page) -> Finding:
    if not page.entries and page.has_more:
        text = _("the list is empty, and says that there is more")
        return Finding(text=text, remedy=_("No sync run can go on from there; ask Orq's support about it."))
    if not page.entries:
        return Finding(text=_("the list answers: it is empty (create a conversation in Orq to have its cursor tried)"))
    if page.has_more:
        text = _("the list answers: %(count)s on its first page, and there are more")
    else:
        text = _("the list answers: %(count)s on its first page, which is all")
    return Finding(text=text % {"count": len(page.entries)})


def _check_items(page: Page) -> Iterator[Finding]:
    for refused in page.refused[:SHOWN]:
        text = _("%(item)s can't be mirrored: %(reason)s")
        named = {"item": refused.remote_id or _("an item without a usable id"), "reason": _(refused.reason)}
        remedy = _("Correct it in Orq; until then runs leave it out and end as “partial”.")
        yield Finding(text=text % named, remedy=remedy)
    if more := max(0, len(page.refused) - SHOWN):
        text = ngettext("%(count)s more can't be mirrored", "%(count)s more can't be mirrored", more)
        remedy = _("After a sync the admin lists all of them as unreadable entries.")
        yield Finding(text=text % {"count": more}, remedy=remedy)
    if page.conversations:
        yield _check_times(page)
        yield _check_order(page.ids)


def _check_order(ids: Sequence[str]) -> Finding:
    if list(ids) == sorted(set(ids), reverse=True):
        return Finding(text=_("the newest come first"))
    return Finding(
        text=_("the list is not ordered by id with the newest first"),
        remedy=_("Incremental runs may miss conversations: schedule full ones, and ask Orq's support about it."),
    )


def _check_times(page: Page) -> Finding:
    for conversation in page.conversations:
        if conversation.created_at.year < 2000:
            return Finding(
                text=_("%(id)s says that it was created in %(year)s")
                % {"id": conversation.remote_id, "year": conversation.created_at.year},
                remedy=_("This server may count in seconds, not milliseconds; ask Orq's support about it."),
            )
    text = _("ids and times are well formed in %(count)s of %(total)s")
    return Finding(text=text % {"count": len(page.conversations), "total": len(page.entries)})


def _describe_retrieved(remote_id: str, conversation: RemoteConversation | None) -> Finding:
    if conversation is not None:
        return Finding(text=_("a conversation that is listed can be retrieved (%(id)s)") % {"id": remote_id})
    return Finding(
        text=_("%(id)s is listed, but not to be found by its id") % {"id": remote_id},
        remedy=_(
            "If it was not deleted just now, check the key's permissions in Orq: syncs can't confirm deletions so."
        ),
    )


def _dialect(page: Page, retrieved: RemoteConversation | None, api_style: str) -> str:
    """Told by the fields that the dialects of ``docs/remote-api.md`` do not share."""
    fields = {name for conversation in page.conversations for name in conversation.extra}
    if "entity_id" in fields:
        return _("SDK 4.1.0-rc.35 (“entity_id” at the top)")
    if "entityId" in fields:
        return _("SDK 4.1.5 (“entityId” at the top)")
    if api_style == "camel" or (retrieved is not None and "messages" in retrieved.extra):
        return _("SDK 4.1.15 to 4.3.20")
    return _("the public reference")


def _describe_refused_cursor(error: APIError) -> Finding:
    if error.status in (400, 404):
        text = _("an unknown cursor is answered with %(status)s, which a sync run bears")
        return Finding(text=text % {"status": error.status})
    return Finding(
        text=_("an unknown cursor is answered with %(status)s") % {"status": error.status},
        remedy=_("A run whose cursor is deleted under it will fail: then start anew with “orq_sync --fresh”."),
    )


def _other_urls(base_url: str) -> str:
    host = urlsplit(base_url).hostname
    return get_text_list([url for url in VENDOR_URLS if urlsplit(url).hostname != host], _("or"))
