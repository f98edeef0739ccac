"""Whether the mirror can work with the server, finding by finding; the questions are in ``doctor``."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...conf import DEFAULT_ALIAS, Workspace, get_workspace
from ..base import WRONG_USAGE, OrqCommand, alias
from ..doctor import Finding, examine


class Command(OrqCommand):
    help = (
        "Ask the Orq server of a workspace whether the mirror can work with it. Writes nothing, there or here. "
        "Exit code 0 if all is well, 1 if there is a problem, 2 for wrong usage or settings."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, default=DEFAULT_ALIAS, help="its alias in ORQ_WORKSPACES")

    def handle(self, *args: Any, workspace: str, **options: Any) -> None:
        try:
            problems = self._examine(get_workspace(workspace))
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from None
        if problems:
            text = ngettext("%(count)s problem found.", "%(count)s problems found.", problems)
            raise CommandError(text % {"count": problems})
        self.stdout.write(_("All is well."))

    def _examine(self, workspace: Workspace) -> int:
        """Show finding after finding; returns how many are problems."""
        text = _("Workspace '%(workspace)s' at %(url)s, API_STYLE '%(style)s'")
        text %= {"workspace": workspace.alias, "url": workspace.base_url, "style": workspace.api_style}
        self.stdout.write(text)
        return sum(self._show(finding) for finding in examine(workspace))

    def _show(self, finding: Finding) -> bool:
        """Returns whether it is a problem."""
        if finding.remedy:
            self.stdout.write(self.style.ERROR(f"  FAIL  {finding.text} → {finding.remedy}"))
        else:
            self.stdout.write(self.style.SUCCESS(f"  ok    {finding.text}"))
        return bool(finding.remedy)
