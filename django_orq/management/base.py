"""What our commands have in common: arguments, and output that can't end what they do."""

import os
import sys
from argparse import ArgumentTypeError
from io import StringIO
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext

from ..conf import MAX_ALIAS, is_alias
from ..sync.report import database_in_words

FAILED, WRONG_USAGE = 1, 2
"""Exit codes."""


class OrqCommand(BaseCommand):
    """Says plainly what the database lacks, and ends as it would have where nobody can read what it says."""

    def __init__(self, stdout: Any = None, stderr: Any = None, **options: Any) -> None:
        out: Any = stdout or Unbreakable(sys.stdout)
        err: Any = stderr or Unbreakable(sys.stderr)
        super().__init__(out, err, **options)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except AnyDatabaseError as error:  # of the command's, or of one of Django's checks before it
            raise CommandError(database_in_words(error), returncode=FAILED) from error
        finally:
            self.stdout.flush()


class Unbreakable:
    """A stream that drops what can't be written: its reader has gone, its disk is full, or it was never open."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or StringIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # what the stream has no character for is a question mark
            encoding = self._stream.encoding
            self.write(text.encode(encoding, "replace").decode(encoding))
        except OSError:
            self._give_up()

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """What is buffered goes nowhere either, or Python would complain of it when it exits."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def alias(text: str) -> str:
    """The type of an argument that names a workspace."""
    if not is_alias(text):
        raise ArgumentTypeError(gettext("an alias is 1 to %(most)s characters") % {"most": MAX_ALIAS})
    return text
