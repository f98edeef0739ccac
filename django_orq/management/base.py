"""What our commands have in common: exit codes, and database errors said plainly."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext

from ..conf import MAX_ALIAS, is_alias
from ..sync.report import database_in_words

FAILED, WRONG_USAGE = 1, 2
"""Exit codes."""


class OrqCommand(BaseCommand):
    """Says plainly what the database lacks, where Django would show a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except AnyDatabaseError as error:  # of the command's, or of one of Django's checks before it
            raise CommandError(database_in_words(error), returncode=FAILED) from error


def alias(text: str) -> str:
    """The type of an argument that names a workspace."""
    if not is_alias(text):
        raise ArgumentTypeError(gettext("an alias is 1 to %(most)s characters") % {"most": MAX_ALIAS})
    return text
