"""Delete old rows that are no longer needed, and scrub old tombstones.

Without --apply, only report what would be done. Specify at least one age, in days, or --changes. Exit codes: 0
finished, 1 database error, 2 wrong usage, 4 interrupted (changes made before the interruption are kept).
"""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext

from ...text import number
from ..base import OrqCommand, alias
from ..pruning import Tally, prune

STOPPED = 4
"""Exit code of an interrupted command, in addition to the common ones; 0 if it finished."""
AGES = {
    "runs": "delete sync runs that ended more than DAYS days ago, except those that are still needed",
    "operations": "delete operations that finished more than DAYS days ago",
    "rejected": "delete rejected items that were resolved more than DAYS days ago",
    "tombstones": "delete the rows of conversations that were deleted more than DAYS days ago, except those that your "
    "models refer to and those that the database refuses to delete (without --apply, the latter count as “to delete”)",
    "scrub": "remove all data except the conversation's id and times from the rows of conversations that were deleted "
    "more than DAYS days ago, and delete their rejected items, their changes and the operations on them",
}
"""The options --…-older-than and their help texts."""
_SECONDS_BETWEEN_LINES = 5.0


class Command(OrqCommand):
    help = __doc__
    requires_system_checks = ()  # some query the database, and this command reports an unreachable one itself

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, metavar="ALIAS", help="prune one workspace only (default: all)")
        for name, text in AGES.items():
            parser.add_argument(f"--{name}-older-than", type=int, metavar="DAYS", help=text)
        text = "delete records of changes that are older than the KEEP_CHANGES_DAYS of their workspace"
        parser.add_argument("--changes", action="store_true", help=text)
        parser.add_argument("--apply", action="store_true", help="delete and scrub; otherwise only count")

    def handle(self, *args: Any, changes: bool, workspace: str | None, apply: bool, **options: Any) -> None:
        ages = {name: options[f"{name}_older_than"] for name in AGES}
        tallies = prune(ages, changes=changes, workspace=workspace, apply=apply)
        last_line_at = time.monotonic()
        try:
            for tally in tallies:
                if tally.is_complete:
                    self.stdout.write(_describe(tally, apply=apply))
                elif time.monotonic() - last_line_at >= _SECONDS_BETWEEN_LINES:
                    last_line_at = time.monotonic()
                    self.stdout.write(f"… {_describe(tally, apply=apply)}")
        except KeyboardInterrupt:
            text = gettext("Interrupted. Changes made before that are kept. Run the command again to continue.")
            raise CommandError(text, returncode=STOPPED) from None
        if not apply:
            self.stdout.write(gettext("Nothing was changed. To apply the changes, add --apply."))


def _describe(tally: Tally, *, apply: bool) -> str:
    """Return, for example, “sync runs: 12 deleted, 3 kept because they are needed or cannot be deleted”."""
    text = gettext("%(kind)s: %(count)s deleted") if apply else gettext("%(kind)s: %(count)s to delete")
    text %= {"kind": tally.kind.label, "count": number(tally.count)}
    kept = gettext("%(count)s kept because they are needed or cannot be deleted") % {"count": number(tally.kept)}
    return f"{text}, {kept}" if tally.kept else text
