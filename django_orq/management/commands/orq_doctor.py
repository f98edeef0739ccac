"""Shows whether the mirror can work with a workspace's server. The checks are in ``management.doctor``."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _, ngettext

from ...conf import DEFAULT_ALIAS, Workspace, get_workspace
from ..base import OrqCommand, alias
from ..doctor import Finding, examine


class Command(OrqCommand):
    help = (
        "Check whether the mirror can work with a workspace's Orq server. Changes nothing, neither in Orq nor in the "
        "database. Exit codes: 0 no problems, 1 problems found, 2 wrong usage or settings."
    )

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
        return sum(self._show(finding) for finding in examine(workspace))

    def _show(self, finding: Finding) -> bool:
        """Show a finding; return whether it is a problem."""
        if finding.remedy:
            self.stdout.write(self.style.ERROR(f"  FAIL  {finding.text} → {finding.remedy}"))
        else:
            self.stdout.write(self.style.SUCCESS(f"  ok    {finding.text}"))
        return bool(finding.remedy)
