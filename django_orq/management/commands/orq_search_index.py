"""Build an index for the search by name on PostgreSQL, so that a search covers all conversations.

Without it, a search covers the newest 100,000. The table can be read and written meanwhile. Needs the extension
pg_trgm, which the command creates if the database user may. To remove the index, add --drop. Exit codes: 0 done,
1 database error, 2 not PostgreSQL, 4 interrupted.
"""

from argparse import ArgumentParser
from threading import Thread
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.utils.translation import gettext as _

from ...models import Conversation
from ...models.searching import SEARCH_INDEX, has_index
from ...store.database import write_database
from ..base import WRONG_USAGE, OrqCommand

INTERRUPTED = 4
_SECONDS_BETWEEN_LINES = 2.0
_DROP = f"DROP INDEX CONCURRENTLY IF EXISTS {SEARCH_INDEX}"
_CREATE = f"""
    CREATE INDEX CONCURRENTLY {SEARCH_INDEX} ON {Conversation._meta.db_table}
    USING gin (UPPER(display_name) gin_trgm_ops)
"""
_PROGRESS = "SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index WHERE relid = to_regclass(%s)"


class Command(OrqCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--drop", action="store_true", help="remove the index")

    def handle(self, *args: Any, drop: bool, **options: Any) -> None:
        if connections[write_database()].vendor != "postgresql":
            raise CommandError(_("Only PostgreSQL has such an index."), returncode=WRONG_USAGE)
        if not drop and has_index(write_database()):
            self.stdout.write(_("The index exists already."))
            return
        statements = [_DROP] if drop else ["CREATE EXTENSION IF NOT EXISTS pg_trgm", _DROP, _CREATE]
        try:
            self._execute(statements)
        except KeyboardInterrupt:
            text = _("Interrupted. Run the command again to build the index, or with --drop to remove what was built.")
            raise CommandError(text, returncode=INTERRUPTED) from None
        self.stdout.write(_("The index was removed.") if drop else _("The index is complete. Searches use it now."))

    def _execute(self, statements: list[str]) -> None:
        """Execute the statements in a thread with a connection of its own, and show the progress of the index."""
        worker = _Worker(statements)
        worker.start()
        try:
            while worker.is_alive():
                worker.join(_SECONDS_BETWEEN_LINES)
                with connections[write_database()].cursor() as cursor:
                    cursor.execute(_PROGRESS, [Conversation._meta.db_table])
                    for phase, done, total in cursor.fetchall():
                        self.stdout.write(f"{phase}: {100 * done // total if total else 0} %")
        except KeyboardInterrupt:
            worker.cancel()
            raise
        if worker.error is not None:
            raise worker.error


class _Worker(Thread):
    def __init__(self, statements: list[str]) -> None:
        super().__init__(daemon=True)
        self._statements = statements
        self._pid = 0
        self.error: Exception | None = None

    def run(self) -> None:
        connection = connections[write_database()]
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (self._pid,) = cursor.fetchone()
                for statement in self._statements:
                    cursor.execute(statement)
        except Exception as error:  # raised by the command's thread
            self.error = error
        finally:
            connection.close()

    def cancel(self) -> None:
        with connections[write_database()].cursor() as cursor:
            cursor.execute("SELECT pg_cancel_backend(%s)", [self._pid])
        self.join()
