"""django_orq: one full run, slice by slice, as a worker does it."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from django_orq.models import SyncRun
from django_orq.sync.runs import open_run
from django_orq.sync.slices import run_slice


def sync(_base_url: str, _api_key: str) -> dict[str, int]:
    """Return what the run counted, and the most statements between two pages: those of one batch."""
    run = open_run("default", "full")
    statements = _Statements()
    with connection.execute_wrapper(statements):
        while run.finished_at is None:
            statements.is_first_page = True
            worked = run_slice(run.pk, on_progress=statements.end_page)
            if worked is None or worked.state == SyncRun.State.WAITING:
                raise RuntimeError(f"Run {run.pk} was interrupted: {worked and worked.error_code}")
            run = worked
    return {"counted": run.created + run.updated, "unchanged": run.unchanged, "statements": statements.most}


_NOT_COUNTED = ("workspacewait", "COUNT(*)")
"""In the check for Retry-After every 2 seconds, and in the check after 50, 100, 200 … pages that the list ends."""


class _Statements:
    """Counts statements, except those for transactions and settings and those of the checks above."""

    def __init__(self) -> None:
        self.is_first_page = True
        """Of a slice: there, the statements that claim the run would count too."""
        self.most = self._count = 0

    def end_page(self, _run: SyncRun) -> None:
        self.most = self.most if self.is_first_page else max(self.most, self._count)
        self.is_first_page = False
        self._count = 0

    def __call__(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) and not any(part in sql for part in _NOT_COUNTED):
            self._count += 1
        return execute(sql, *arguments)
