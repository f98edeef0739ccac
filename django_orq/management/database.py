"""What commands say of a database that is out of reach, or has not our tables."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as AnyDatabaseError

from ..remarks import database_in_words

FAILED = 1
"""Exit code."""


class DatabaseCommand(BaseCommand):
    """Tells it plainly, whether the command itself or one of Django's checks before it asked the database."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except AnyDatabaseError as error:
            raise CommandError(database_in_words(error), returncode=FAILED) from error
