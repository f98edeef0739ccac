"""Check whether the mirror can work with a workspace's Orq server.

Changes nothing, neither in Orq nor in the database. Exit codes: 0 no problems, 1 problems found, 2 wrong usage or
settings.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _, gettext_noop, ngettext

from ... import conf
from ...conf import DEFAULT_ALIAS, RetryConfig, Workspace, get_workspace
from ...exceptions import APIError, ConversationNotFound, CursorIgnored, MalformedResponse, OrqError
from ...payloads import Page, RemoteConversation
from ...service import ConversationService
from ...store import rate_limits
from ...store.database import DatabaseClock, kept_rows, write_database
from ...sync.walk import PROOFS
from ...text import number
from ..base import OrqCommand, alias

VENDOR_URLS = "https://my.orq.ai, https://api.orq.ai"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    text: str
    remedy: str = ""
    """What to do about the problem; empty if there is none."""


@dataclass(frozen=True, kw_only=True)
class _Examination:
    """The checks of one workspace. They send only GET requests, to the configured base URL, without retries."""

    workspace: Workspace
    service: ConversationService

    def findings(self) -> Iterator[Finding]:
        """Yield the finding of each check. An error after which no further check makes sense is the last finding."""
        try:
            # If Orq has asked us to wait, this command sends no requests either.
            rate_limits.check(self.workspace.alias, operation="list", clock=DatabaseClock(write_database()))
            page = self.service.list(limit=conf.MAX_PAGE_SIZE)
            yield Finding(text=_("the API key is accepted"))
            yield from _check_page(page)
            if page.ids:
                newest = max(page.ids)
                yield self._check_retrieval(newest)
                yield self._check_cursor(page, newest)
            yield from self._check_mirror(page)
        except OrqError as error:
            yield Finding(text=error.message, remedy=self._remedy(error))

    def _check_retrieval(self, newest: str) -> Finding:
        if self._retrieve(newest):
            return Finding(text=_("a listed conversation can be retrieved (%(id)s)") % {"id": newest})
        text = _("%(id)s is in the list, but cannot be retrieved by its id") % {"id": newest}
        remedy = _("If it still exists, check in Orq that the key may retrieve conversations: syncs need that.")
        return Finding(text=text, remedy=remedy)

    def _check_mirror(self, page: Page) -> Iterator[Finding]:
        """Yield nothing if nothing is mirrored yet."""
        rows = kept_rows(self.workspace.alias)
        newest = rows.order_by("-remote_id").values_list("remote_id", flat=True)[:PROOFS]
        if rows.filter(remote_id__in=page.ids).exists():
            yield Finding(text=_("the list contains conversations that are mirrored here"))
        elif any(self._retrieve(remote_id) for remote_id in newest):
            yield Finding(text=_("the first page has only new conversations; mirrored ones can be retrieved"))
        elif newest:
            remedy = _("Check that API_KEY and BASE_URL belong to the workspace that is mirrored under this alias.")
            text = _("the server has none of the mirrored conversations that were looked up")
            yield Finding(text=text, remedy=remedy)

    def _retrieve(self, remote_id: str) -> RemoteConversation | None:
        try:
            return self.service.retrieve(conversation_id=remote_id)
        except ConversationNotFound as error:
            if error.retry_after is not None:
                raise
            return None

    def _check_cursor(self, page: Page, newest: str) -> Finding:
        following = self.service.list(limit=1, starting_after=newest)
        if following.ids and max(following.ids) >= newest:
            raise CursorIgnored(operation="list", api_style=self.workspace.api_style, status=200)
        if following.ids:
            return Finding(text=_("the cursor advances (to %(id)s)") % {"id": following.ids[0]})
        if following.items:
            reason = gettext_noop("no item on the page has a valid id")
            raise MalformedResponse(operation="list", reason=reason, status=200)
        if page.has_more or len(page.items) > 1:
            remedy = _("Do not schedule syncs: they would end at this page. Contact Orq's support.")
            text = _("the page after the newest conversation is empty, although there are older ones")
            return Finding(text=text, remedy=remedy)
        return Finding(text=_("the cursor works: nothing follows the only conversation"))

    def _remedy(self, error: OrqError) -> str:
        if error.retry_after is not None:
            text = _("Run this command again in %(seconds)s seconds.")
            return text % {"seconds": number(round(error.retry_after))}
        status = error.status if isinstance(error, APIError) else None
        if isinstance(error, CursorIgnored) or status in (400, 404):
            other = next(style for style in conf.API_STYLES if style != self.workspace.api_style)
            advice = _("Try API_STYLE '%(style)s', and check BASE_URL (%(urls)s).")
            return advice % {"style": other, "urls": VENDOR_URLS}
        if status == 401:
            return _("If the key is correct, try Orq's other address as BASE_URL (%(urls)s).") % {"urls": VENDOR_URLS}
        return _("Run this command again when the problem is solved.")


def _check_page(page: Page) -> Iterator[Finding]:
    if page.items:
        yield Finding(text=_("items on the first page of the list: %(count)s") % {"count": len(page.items)})
    elif page.has_more:
        remedy = _("Syncs cannot continue after such a page. Contact Orq's support.")
        yield Finding(text=_("the list is empty, but has_more says that there are more items"), remedy=remedy)
    else:
        yield Finding(text=_("the list is empty (to check the cursor too, create a conversation in Orq)"))
    remedy = _("Correct it in Orq. Until then, syncs reject it and end as “completed with problems”.")
    for rejected in page.rejected[:5]:  # after a sync, the admin lists all of them
        named = {"item": rejected.remote_id or _("an item without a valid id"), "reason": _(rejected.reason)}
        yield Finding(text=_("%(item)s cannot be mirrored: %(reason)s") % named, remedy=remedy)
    if page.conversations and list(page.ids) == sorted(set(page.ids), reverse=True):
        yield Finding(text=_("the list is ordered with the newest conversations first"))
    elif page.conversations:
        remedy = _("Incremental runs may miss conversations. Schedule full runs, and contact Orq's support.")
        yield Finding(text=_("the list is not ordered by id with the newest conversations first"), remedy=remedy)


class Command(OrqCommand):
    help = __doc__
    requires_system_checks = ()  # this command reports invalid settings itself

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, default=DEFAULT_ALIAS, help="alias in ORQ_WORKSPACES")

    def handle(self, *args: Any, workspace: str, **options: Any) -> None:
        if problems := self._examine(get_workspace(workspace)):
            text = ngettext("%(count)s problem found.", "%(count)s problems found.", problems)
            raise CommandError(text % {"count": problems})
        self.stdout.write(_("No problems found."))

    def _examine(self, workspace: Workspace) -> int:
        """Show the findings one by one; return how many are problems."""
        text = _("Workspace '%(workspace)s' at %(url)s, API_STYLE '%(style)s'")
        text %= {"workspace": workspace.alias, "url": workspace.base_url, "style": workspace.api_style}
        self.stdout.write(text)
        options: Any = {"retries": RetryConfig(attempts=1), "total_seconds": conf.INTERACTIVE_SECONDS}
        with ConversationService.for_workspace(workspace.alias, **options) as service:
            examination = _Examination(workspace=workspace, service=service)
            return sum(self._show(finding) for finding in examination.findings())

    def _show(self, finding: Finding) -> bool:
        """Show a finding; return whether it is a problem."""
        if finding.remedy:
            self.stdout.write(self.style.ERROR(f"  FAIL  {finding.text} → {finding.remedy}"))
        else:
            self.stdout.write(self.style.SUCCESS(f"  ok    {finding.text}"))
        return bool(finding.remedy)
