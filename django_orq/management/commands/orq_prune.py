"""Deletes old rows and empties old tombstones; what may go is in ``pruning``."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.translation import gettext

from ...text import number
from ..base import WRONG_USAGE, OrqCommand, alias
from ..pruning import Tally, prune

STOPPED = 4
"""An exit code, beside the common ones; 0 if it came to its end."""
AGES = {
    "runs": "delete sync runs that ended longer ago, except those that are still needed",
    "operations": "delete operations that were finished longer ago",
    "rejected": "delete unreadable entries (rejected payloads) that were resolved longer ago",
    "tombstones": "delete the rows of conversations that were deleted longer ago, except those that your models refer "
    "to, and those that the database refuses to delete, which only --apply shows",
    "scrub": "remove all but ids and times from the rows of conversations that were deleted longer ago, and delete "
    "unreadable entries of them and operations about them",
}
"""The options --…-older-than, and their help."""
_SECONDS_BETWEEN_LINES = 5.0


class Command(OrqCommand):
    help = (
        "Delete old rows that nobody needs, and scrub old names. Without --apply it changes nothing, and says what it "
        "would do. At least one age must be given, in days. Exit code 0 if it came to its end, 1 if the database "
        "failed, 2 for wrong usage, 4 if it was interrupted; what was done until then stays done."
    )
    requires_system_checks = ()  # some ask the database, and of one out of reach we tell ourselves

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, metavar="ALIAS", help="of one workspace only; else of all")
        for name, text in AGES.items():
            parser.add_argument(f"--{name}-older-than", type=int, metavar="DAYS", help=text)
        parser.add_argument("--apply", action="store_true", help="do it; else it is only counted")

    def handle(self, *args: Any, workspace: str | None, apply: bool, **options: Any) -> None:
        try:
            tallies = prune({name: options[f"{name}_older_than"] for name in AGES}, workspace=workspace, apply=apply)
        except (ValueError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from None
        last_line_at = time.monotonic()
        try:
            for tally in tallies:
                if tally.is_complete:
                    self.stdout.write(_describe(tally, apply=apply))
                elif time.monotonic() - last_line_at >= _SECONDS_BETWEEN_LINES:
                    last_line_at = time.monotonic()
                    self.stdout.write(f"… {_describe(tally, apply=apply)}")
                    self.stdout.flush()
        except KeyboardInterrupt:
            text = gettext("Interrupted. What was done until then stays done; run it again to continue.")
            raise CommandError(text, returncode=STOPPED) from None
        if not apply:
            self.stdout.write(gettext("Nothing was changed. With --apply it is done."))


def _describe(tally: Tally, *, apply: bool) -> str:
    """“sync runs: 12 deleted, 3 kept, because they are needed or referred to”."""
    text = gettext("%(kind)s: %(count)s deleted") if apply else gettext("%(kind)s: %(count)s to delete")
    text %= {"kind": tally.kind.label, "count": number(tally.count)}
    kept = gettext("%(count)s kept, because they are needed or referred to") % {"count": number(tally.kept)}
    return f"{text}, {kept}" if tally.kept else text
