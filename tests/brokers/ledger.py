"""Records each write of a conversation or a run in PostgreSQL, by triggers: which process, which transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from ..triggers import execute

_LEDGER = "CREATE TABLE ledger (what text, key text, writer text, transaction bigint, entry bigserial)"
_FUNCTION = """
    CREATE OR REPLACE FUNCTION note_{table}() RETURNS trigger AS $$
    BEGIN
        INSERT INTO ledger VALUES (
            '{table} ' || TG_OP, NEW.{key}, current_setting('application_name'), txid_current()
        );
        RETURN NULL;
    END $$ LANGUAGE plpgsql
"""
_TRIGGER = """
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON django_orq_{table} FOR EACH ROW EXECUTE FUNCTION note_{table}()
"""
_NOTED = {"conversation": "remote_id", "syncrun": "token"}


class Ledger:
    def holder(self, token: str) -> int | None:
        """The process that claimed a run with this token."""
        sql = "SELECT writer FROM ledger WHERE what = 'syncrun UPDATE' AND key = %s ORDER BY entry LIMIT 1"
        rows = self._ask(sql, token)
        return int(rows[0][0]) if rows else None

    def held_a_run(self, pid: int) -> bool:
        """Whether this process had not released its run at its last write."""
        sql = "SELECT key FROM ledger WHERE what = 'syncrun UPDATE' AND writer = %s ORDER BY entry DESC"
        for (token,) in self._ask(sql, str(pid)):
            if not token or self.holder(token) == pid:  # else a write to a run that another one holds
                return bool(token)
        return False

    def writes(self, token: str, *, by: int) -> int:
        """How often this process wrote the run while it had this token."""
        sql = "SELECT count(*) FROM ledger WHERE what = 'syncrun UPDATE' AND key = %s AND writer = %s"
        return int(self._ask(sql, token, str(by))[0][0])

    def inserted(self) -> list[int]:
        """The number of inserted conversations per transaction that inserted some."""
        sql = "SELECT count(*) FROM ledger WHERE what = 'conversation INSERT' GROUP BY transaction"
        return [count for (count,) in self._ask(sql)]

    def changed(self) -> int:
        """How often existing rows of conversations were written."""
        return int(self._ask("SELECT count(*) FROM ledger WHERE what = 'conversation UPDATE'")[0][0])

    def forget(self) -> None:
        execute("TRUNCATE ledger")

    def is_connected(self, pid: int) -> bool:
        """Whether the database still has a connection of this process, possibly after its death."""
        return bool(self._ask("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", str(pid)))

    def _ask(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()


@contextmanager
def kept_ledger() -> Iterator[Ledger]:
    execute(_LEDGER)
    for table, key in _NOTED.items():
        execute(_FUNCTION.format(table=table, key=key))
        execute(_TRIGGER.format(table=table))
    try:
        yield Ledger()
    finally:
        for table in _NOTED:
            execute(f"DROP TRIGGER note ON django_orq_{table}")
        execute("DROP TABLE ledger")
