"""The base class of our commands, their common exit codes, and an argument type."""

import os
from argparse import ArgumentTypeError
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext

from ..conf import MAX_ALIAS, is_alias
from ..sync.report import database_in_words

FAILED, WRONG_USAGE = 1, 2
"""Exit codes that the commands share."""


class _Output(OutputWrapper):
    """Escapes what the encoding does not have. If the output is closed or its disk is full, the work goes on."""

    def write(self, *args: Any, **options: Any) -> None:  # type: ignore[override] # as the base class
        try:
            with suppress(AttributeError):  # a stream that is not a file
                self.reconfigure(errors="backslashreplace")
            super().write(*args, **options)
            self.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


class OrqCommand(BaseCommand):
    """A command that reports a database error and wrong usage in one sentence, where Django would show a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.stdout.__class__ = self.stderr.__class__ = _Output
        try:
            return super().execute(*args, **options)
        except AnyDatabaseError as error:  # raised by the command, or by a system check before it
            raise CommandError(database_in_words(error), returncode=FAILED) from error
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from error


def alias(text: str) -> str:
    """Check an argument that names a workspace, for argparse's ``type``."""
    if not is_alias(text):
        raise ArgumentTypeError(gettext("a workspace alias has 1 to %s printable characters") % MAX_ALIAS)
    return text
