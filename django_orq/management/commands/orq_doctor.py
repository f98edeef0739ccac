from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ... import waits
from ...clock import DatabaseClock
from ...conf import API_STYLES, DEFAULT_ALIAS, MAX_PAGE_SIZE, RetryConfig, Workspace, get_workspace
from ...exceptions import (
    APIError,
    AuthenticationFailed,
    ConversationNotFound,
    CursorIgnored,
    MalformedResponse,
    OrqError,
    RateLimited,
)
from ...models import write_database
from ...payloads import Page, RemoteConversation
from ...service import INTERACTIVE_SECONDS, ConversationService

VENDOR_URLS = ("https://my.orq.ai", "https://api.orq.ai")
UNKNOWN_ID = "conv_" + "0" * 26
"""Well formed, and of the first millisecond of 1970: no conversation has it."""
SHOWN = 5
"""Refused items that are told one by one."""


class Command(BaseCommand):
    help = (
        "Ask the Orq server of a workspace whether the mirror can work with it. Writes nothing, there or here. "
        "Exit code 0 if all is well, else 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", default=DEFAULT_ALIAS, help="its alias in ORQ_WORKSPACES")

    def handle(self, *args: Any, workspace: str, **options: Any) -> None:
        try:
            failures = self._examine(get_workspace(workspace))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        if failures:
            raise CommandError(f"{failures} of these findings {'needs' if failures == 1 else 'need'} a person.")
        self.stdout.write("All is well.")

    def _examine(self, workspace: Workspace) -> int:
        """Show finding after finding; returns how many are not well."""
        self.stdout.write(f"Workspace {workspace.alias!r} at {workspace.base_url}, API_STYLE {workspace.api_style!r}")
        failures = 0
        with _service(workspace, workspace.api_style) as service:
            for finding in Examination(workspace, service=service).findings():
                failures += bool(finding.remedy)
                self._show(finding)
        return failures

    def _show(self, finding: "Finding") -> None:
        if finding.remedy:
            self.stdout.write(self.style.ERROR(f"  FAIL  {finding.text} → {finding.remedy}"))
        else:
            self.stdout.write(self.style.SUCCESS(f"  ok    {finding.text}"))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the examination."""

    text: str
    remedy: str = ""
    """What to do about it; empty if all is well."""


class Examination:
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
            yield Finding(text="the API key is accepted")
            yield _describe_list(page)
            yield from _check_items(page)
            if self._newest is not None:
                yield from self._check_conversations(page, self._newest)
            yield from self._check_unknown_cursor()
        except OrqError as error:
            yield Finding(text=error.message, remedy=self._remedy(error))

    def _check_waits(self) -> Iterator[Finding]:
        """Raises ``MustWait`` while Orq wants to be left alone: this command asks it nothing then, either."""
        try:
            waits.check(self._workspace.alias, operation="list", clock=DatabaseClock(write_database()))
        except DatabaseError as error:
            text = f"the database does not tell whether Orq asked us to wait ({type(error).__name__})"
            yield Finding(text=text, remedy="Check DATABASES, and run “manage.py migrate”.")
        else:
            yield Finding(text="no wait that Orq asked for is in force")

    def _check_conversations(self, page: Page, newest: str) -> Iterator[Finding]:
        retrieved = self._retrieve(newest)
        yield _describe_retrieved(newest, retrieved)
        yield Finding(text=f"the objects look like those of {_dialect(page, retrieved, self._workspace.api_style)}")
        yield self._check_cursor(page, newest)

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
            return Finding(text=f"the cursor advances (to {following.ids[0]})")
        if following.entries:
            raise MalformedResponse(operation="list", reason="a page of items without a single usable id", status=200)
        if page.has_more or len(page.entries) > 1:
            return Finding(
                text="the page after the newest conversation is empty, though there are older ones",
                remedy="Don't schedule syncs, which would end there; ask Orq's support about it.",
            )
        return Finding(text="the cursor is understood: nothing comes after the only conversation")

    def _check_unknown_cursor(self) -> Iterator[Finding]:
        try:
            page = self._service.list(limit=1, starting_after=UNKNOWN_ID)
        except APIError as error:
            if error.retry_after is not None or isinstance(error, RateLimited):
                raise
            yield _describe_refused_cursor(error)
        else:
            how = "page one again" if page.entries else "an empty page"
            yield Finding(text=f"an unknown cursor is answered with {how}, which a sync run bears")

    def _remedy(self, error: OrqError) -> str:
        if error.retry_after is not None:
            return f"Orq wants to be asked again in {error.retry_after:,.0f} s, not before; run this command then."
        if isinstance(error, CursorIgnored) or (isinstance(error, APIError) and error.status in (400, 404)):
            return self._try_other_style()
        if isinstance(error, AuthenticationFailed):
            return f"If the key is right, it may belong to {_other_urls(self._workspace.base_url)}: try that BASE_URL."
        if isinstance(error, MalformedResponse):
            return "Check that BASE_URL is Orq's own address, and that no proxy or login page answers in its place."
        if error.retryable:
            return "Once that is settled, run this command again."
        return "Correct that, and run this command again."

    def _try_other_style(self) -> str:
        """What the same server makes of the other dialect tells whether that is the cause."""
        other = next(style for style in API_STYLES if style != self._workspace.api_style)
        with _service(self._workspace, other) as service:
            if self._is_understood(service):
                return f"This server understands API_STYLE {other!r}: set that."
        if self._newest is not None:
            return f"API_STYLE {other!r} does not help. If it stays so, ask Orq's support what it calls the cursor."
        urls = _other_urls(self._workspace.base_url)
        return f"API_STYLE {other!r} does not help. Check BASE_URL; Orq's own address may be {urls}: try that."

    def _is_understood(self, service: ConversationService) -> bool:
        try:
            page = service.list(limit=1, starting_after=self._newest)
        except OrqError:
            return False
        return self._newest is None or max(page.ids, default="") < self._newest


def _service(workspace: Workspace, api_style: str) -> ConversationService:
    return ConversationService(
        api_key=workspace.read_key,
        base_url=workspace.base_url,
        api_style=api_style,
        connect_timeout=workspace.connect_timeout,
        read_timeout=workspace.read_timeout,
        retries=RetryConfig(attempts=1),
        total_seconds=INTERACTIVE_SECONDS,
    )


def _describe_list(page: Page) -> Finding:
    if not page.entries and page.has_more:
        text = "the list is empty, and says that there is more"
        return Finding(text=text, remedy="No sync run can go on from there; ask Orq's support about it.")
    if not page.entries:
        return Finding(text="the list answers: it is empty (create a conversation in Orq to have its cursor tried)")
    more = ", and there are more" if page.has_more else ", which is all"
    return Finding(text=f"the list answers: {len(page.entries)} on its first page{more}")


def _check_items(page: Page) -> Iterator[Finding]:
    for refused in page.refused[:SHOWN]:
        text = f"{refused.remote_id or 'an item without a usable id'} can't be mirrored: {refused.reason}"
        yield Finding(text=text, remedy="Correct it in Orq; until then runs leave it out and end as “partial”.")
    if len(page.refused) > SHOWN:
        text = f"{len(page.refused) - SHOWN} more can't be mirrored"
        yield Finding(text=text, remedy="After a sync the admin lists all of them as rejected payloads.")
    if page.conversations:
        yield _check_times(page)
        yield _check_order(page.ids)


def _check_order(ids: Sequence[str]) -> Finding:
    if list(ids) == sorted(set(ids), reverse=True):
        return Finding(text="the newest come first")
    return Finding(
        text="the list is not ordered by id with the newest first",
        remedy="Incremental runs may miss conversations: schedule full ones, and ask Orq's support about it.",
    )


def _check_times(page: Page) -> Finding:
    for conversation in page.conversations:
        if conversation.created_at.year < 2000:
            return Finding(
                text=f"{conversation.remote_id} says that it was created in {conversation.created_at.year}",
                remedy="This server may count in seconds, not milliseconds; ask Orq's support about it.",
            )
    return Finding(text=f"ids and times are well formed in {len(page.conversations)} of {len(page.entries)}")


def _describe_retrieved(remote_id: str, conversation: RemoteConversation | None) -> Finding:
    if conversation is not None:
        return Finding(text=f"a conversation that is listed can be retrieved ({remote_id})")
    return Finding(
        text=f"{remote_id} is listed, but not to be found by its id",
        remedy="If it was not deleted just now, check the key's permissions in Orq: syncs can't confirm deletions so.",
    )


def _dialect(page: Page, retrieved: RemoteConversation | None, api_style: str) -> str:
    """Told by the fields that the dialects of ``docs/remote-api.md`` do not share."""
    fields = {name for conversation in page.conversations for name in conversation.extra}
    if "entity_id" in fields:
        return "SDK 4.1.0-rc.35 (“entity_id” at the top)"
    if "entityId" in fields:
        return "SDK 4.1.5 (“entityId” at the top)"
    if api_style == "camel" or (retrieved is not None and "messages" in retrieved.extra):
        return "SDK 4.1.15 to 4.3.20"
    return "the public reference"


def _describe_refused_cursor(error: APIError) -> Finding:
    if error.status in (400, 404):
        return Finding(text=f"an unknown cursor is answered with {error.status}, which a sync run bears")
    return Finding(
        text=f"an unknown cursor is answered with {error.status}",
        remedy="A run whose cursor is deleted under it will fail: then start anew with “orq_sync --fresh”.",
    )


def _other_urls(base_url: str) -> str:
    host = urlsplit(base_url).hostname
    return " or ".join(url for url in VENDOR_URLS if urlsplit(url).hostname != host)
