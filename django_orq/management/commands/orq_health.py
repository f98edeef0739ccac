"""Show how fresh the mirror is and which problems it has. Reads only the database; sends no requests to Orq.

Exit codes: 0 healthy, 1 not healthy (FAIL), 2 wrong usage, 3 needs attention (WARN).
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from ...sync.health import MAX_AGE, MAX_FULL_AGE, Finding, Level, examine
from ..base import FAILED, OrqCommand, alias

HEALTHY, LOOK = 0, 3
"""Exit codes in addition to the common ones."""


class Command(OrqCommand):
    help = __doc__
    requires_system_checks = ()  # some query the database, and this command reports an unreachable one itself

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, metavar="ALIAS", help="alias in ORQ_WORKSPACES (default: all)")
        age: dict[str, Any] = {"type": float, "metavar": "SECONDS"}
        text = "maximum age of the newest complete run of any mode (default: %(default)g)"
        parser.add_argument("--max-age", **age, default=MAX_AGE, help=text)
        text = "maximum age of the newest complete full run (default: %(default)g)"
        parser.add_argument("--max-full-age", **age, default=MAX_FULL_AGE, help=text)
        parser.add_argument("--json", action="store_true", dest="as_json", help="write one JSON object, for programs")

    def handle(self, *args: Any, workspace: str | None, as_json: bool, **options: Any) -> None:
        findings = list(examine(workspace, max_age=options["max_age"], max_full_age=options["max_full_age"]))
        levels = {finding.level for finding in findings}
        code = FAILED if Level.FAIL in levels else LOOK if Level.LOOK in levels else HEALTHY
        self._write_json(findings, code) if as_json else self._write_lines(findings, code)
        if code:
            sys.exit(code)

    def _write_json(self, findings: Sequence[Finding], code: int) -> None:
        names = ("code", "level", "workspace", "text")
        described = [{name: getattr(each, name) for name in names} | {**each.numbers} for each in findings]
        self.stdout.write(json.dumps({"healthy": not code, "exit_code": code, "findings": described}))

    def _write_lines(self, findings: Sequence[Finding], code: int) -> None:
        styles = {Level.OK: self.style.SUCCESS, Level.LOOK: self.style.WARNING, Level.FAIL: self.style.ERROR}
        for finding in findings:
            where = f"{finding.workspace}: " if finding.workspace else ""
            word = "WARN" if finding.level == Level.LOOK else finding.level.upper()
            self.stdout.write(styles[finding.level](f"{word:4}  {where}{finding.text}"))
        if not code:
            self.stdout.write(_("No problems found."))
