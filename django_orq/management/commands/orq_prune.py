"""Old rows deleted and old names scrubbed, at a person's word; what may go is in ``pruning``."""

import time
from argparse import ArgumentParser
from dataclasses import fields
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext

from ...sync.report import database_in_words
from ...text import number
from ..base import FAILED, WRONG_USAGE, OrqCommand, alias
from ..pruning import Ages, Tally, prune

STOPPED = 4
"""An exit code, beside the common ones; 0 if it came to its end."""
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
        days: dict[str, Any] = {"type": int, "metavar": "DAYS"}
        parser.add_argument(
            "--runs-older-than",
            **days,
            help="delete sync runs that ended longer ago, but for those that others need",
        )
        parser.add_argument("--operations-older-than", **days, help="delete operations that were finished longer ago")
        parser.add_argument(
            "--rejected-older-than",
            **days,
            help="delete unreadable entries (rejected payloads) that were settled longer ago",
        )
        parser.add_argument(
            "--tombstones-older-than",
            **days,
            help="delete the rows of conversations that were deleted longer ago, but for those that anything refers "
            "to; names in the admin's own history (“recent actions”) stay until they are scrubbed",
        )
        parser.add_argument(
            "--scrub-older-than",
            **days,
            help="in the rows of conversations that were deleted longer ago: take out name, previous name, metadata, "
            "other fields, and who created and updated it; also their names in operations, unreadable entries, and "
            "the admin's own history (the object_repr of its LogEntry); and the names in operations finished longer "
            "ago that have no row, such as creations that failed",
        )
        parser.add_argument("--apply", action="store_true", help="do it; else it is only counted")

    def handle(self, *args: Any, workspace: str | None, apply: bool, **options: Any) -> None:
        try:
            ages = Ages(**{field.name: options[f"{field.name}_older_than"] for field in fields(Ages)})
        except ValueError as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from None
        try:
            for tally in prune(ages, workspace=workspace, apply=apply, on_progress=_Progress(self, apply=apply)):
                self.stdout.write(_describe(tally, apply=apply))
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from None
        except AnyDatabaseError as error:
            text = gettext("What was done until then stays done; run it again.")
            raise CommandError(f"{database_in_words(error)} {text}", returncode=FAILED) from error
        except KeyboardInterrupt:
            text = gettext("Interrupted. What was done until then stays done; run it again to go on.")
            raise CommandError(text, returncode=STOPPED) from None
        if not apply:
            self.stdout.write(gettext("Nothing was changed. With --apply it is done."))


class _Progress:
    """A line every few seconds."""

    def __init__(self, command: BaseCommand, *, apply: bool) -> None:
        self._command = command
        self._apply = apply
        self._last_line_at = time.monotonic()

    def __call__(self, tally: Tally) -> None:
        if time.monotonic() - self._last_line_at >= _SECONDS_BETWEEN_LINES:
            self._last_line_at = time.monotonic()
            self._command.stdout.write(f"… {_describe(tally, apply=self._apply)}")
            self._command.stdout.flush()


def _describe(tally: Tally, *, apply: bool) -> str:
    """“sync runs: 12 deleted, 3 kept, since something needs or refers to them”."""
    values = {"kind": tally.kind.label, "count": number(tally.count), "kept": number(tally.kept)}
    if tally.kind.stays:
        text = gettext("%(kind)s: %(count)s scrubbed") if apply else gettext("%(kind)s: %(count)s to scrub")
    elif tally.kept:
        deleted = gettext("%(kind)s: %(count)s deleted, %(kept)s kept, since something needs or refers to them")
        to_delete = gettext("%(kind)s: %(count)s to delete, %(kept)s kept, since something needs or refers to them")
        text = deleted if apply else to_delete
    else:
        text = gettext("%(kind)s: %(count)s deleted") if apply else gettext("%(kind)s: %(count)s to delete")
    return text % values
