"""Whether the mirror can work with the server, finding by finding; the questions are those of ``examination``."""

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
        "Exit code 0 if all is well, 1 if a finding needs a person, 2 for wrong usage or settings."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, default=DEFAULT_ALIAS, help="its alias in ORQ_WORKSPACES")

    def handle(self, *args: Any, workspace: str, **options: Any) -> None:
        try:
            failures = self._examine(get_workspace(workspace))
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from None
        if failures:
            text = ngettext(
                "%(count)s of these findings needs a person.", "%(count)s of these findings need a person.", failures
            )
            raise CommandError(text % {"count": failures})
        self.stdout.write(_("All is well."))

    def _examine(self, workspace: Workspace) -> int:
        """Show finding after finding; returns how many are not well."""
        text = _("Workspace '%(workspace)s' at %(url)s, API_STYLE '%(style)s'")
        named = {"workspace": workspace.alias, "url": workspace.base_url, "style": workspace.api_style}
        self.stdout.write(text % named)
        failures = 0
        for finding in examine(workspace):
            failures += bool(finding.remedy)
            self._show(finding)
        return failures

    def _show(self, finding: Finding) -> None:
        if finding.remedy:
            self.stdout.write(self.style.ERROR(f"  FAIL  {finding.text} → {finding.remedy}"))
        else:
            self.stdout.write(self.style.SUCCESS(f"  ok    {finding.text}"))
