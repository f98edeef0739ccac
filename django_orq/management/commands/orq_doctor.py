from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from ...conf import DEFAULT_ALIAS, get_workspace
from ...exceptions import CursorIgnored, OrqError
from ...service import ConversationService


class Command(BaseCommand):
    help = "Ask the Orq server of a workspace whether the mirror can work with it. Writes nothing, there or here."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", default=DEFAULT_ALIAS, help="its alias in ORQ_WORKSPACES")

    def handle(self, *args: Any, workspace: str, **options: Any) -> None:
        try:
            base_url = get_workspace(workspace).base_url
            self.stdout.write(f"Workspace {workspace!r} at {base_url}")
            with ConversationService.for_workspace(workspace, interactive=True) as service:
                for finding in examine(service, api_style=get_workspace(workspace).api_style):
                    self.stdout.write(self.style.SUCCESS(f"  ok  {finding}"))
        except (OrqError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from None
        self.stdout.write("All is well.")


def examine(service: ConversationService, *, api_style: str) -> Iterator[str]:
    """Ask one thing after another; yields what was found, raises ``OrqError`` at the first that is wrong."""
    first = service.list(limit=1)
    yield "the API key is accepted"
    yield f"the list answers ({'the newest is ' + first.cursor if first.cursor else 'it is empty'})"
    if first.cursor is None or not first.has_more:
        yield "the list is too short to try a cursor; create two conversations to see it advance"
        return
    second = service.list(limit=1, starting_after=first.cursor)
    if second.cursor is None or second.cursor >= first.cursor:
        raise CursorIgnored(operation="list", api_style=api_style)
    yield f"the cursor advances (to {second.cursor})"
