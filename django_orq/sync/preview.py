"""What a full run would do: the same walk, but each batch is only compared with the mirror, and nothing is written."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ..conf import get_workspace
from ..exceptions import OrqError
from ..models import ConversationState, SyncRun
from ..store.database import DatabaseClock, kept_rows, write_database
from ..store.rules import Change, Verdict, compare
from . import intervals
from .batches import Batch, Known, ReceivedPage
from .claim import Claim
from .confirm import Confirmation, due
from .readers import Readers
from .walk import Walk

MAX_NAMES = 20


@dataclass(kw_only=True)
class Found:
    """How many conversations, and the names of the first of them."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, names: Sequence[str]) -> None:
        self.count += len(names)
        self.names += names[: MAX_NAMES - len(self.names)]


class Preview(Claim):
    """A claim on a run that is not in the database. It saves nothing.

    ``found`` has what a full run would create, rename, change, restore, mark as missing and look up by id.
    """

    def __init__(self, alias: str) -> None:
        clock, workspace = DatabaseClock(write_database()), get_workspace(alias)
        parts = intervals.saved(intervals.cut(alias, workspace.readers))
        mode, before = SyncRun.Mode.FULL, kept_rows(alias).count()
        run = SyncRun(workspace=alias, mode=mode, mirrored_before=before, intervals=parts, started_at=clock.now())
        super().__init__(run, workspace=workspace, clock=clock)
        self.found: defaultdict[str, Found] = defaultdict(Found)
        self.max_missing = 0
        """If more rows are missing, a full run stops for review before it looks them up."""

    def read(self, *, on_progress: Callable[[SyncRun], object]) -> OrqError | None:
        """Read the list from where it was left; return the error that ended it, or ``None`` at its end."""
        count = max(self.workspace.readers, len(self.run.intervals))
        try:
            with closing(Readers(self, count=count)) as readers:
                walk = Walk(self, readers, batch_class=_Comparison)
                walk.read(must_stop=lambda: False, on_progress=on_progress)
                self.run.ended_early = intervals.ended_early(self.run)
                self.max_missing = Confirmation(self, readers).max_missing()
        except OrqError as error:
            return error
        return None

    def renew(self, **values: Any) -> None:
        pass

    def save(self, values: dict[str, Any]) -> None:
        pass


class _Comparison(Batch):
    """A batch that is compared, not written."""

    _claim: Preview

    def _write(self, pages: Sequence[ReceivedPage], known: Known, *, is_last: bool) -> None:
        part = self._part(pages, known, is_last=is_last)
        plan = compare(part.answer, workspace=self.run.workspace)
        found = self._claim.found
        elsewhere = part.outside | self._met_before  # these are met in another interval or batch, too
        for change in plan.changes:
            if change.remote.remote_id not in elsewhere and (kind := _kind(change)):
                found[kind].add([_name(change)])
        found["rejected"].add([item.key for item in part.refusals if item.remote_id not in elsewhere])
        for absent in self._omitted(pages):
            names = absent.order_by("-remote_id").values_list("display_name", flat=True)
            missing = names.filter(indexed_state=ConversationState.LIVE, mirrored_at__lt=part.answer.asked_at)
            found["missing"].add(list(missing))
            found["looked_up"].add([*missing, *names.filter(due(self.run, now=self._claim.clock.now()))])
        self._claim.save_now(**self._progress(part, plan))
        self._pass(part)


def _kind(change: Change) -> str | None:
    """What a run would do to the row; ``None`` if nothing."""
    if change.row is not None and change.verdict is Verdict.UPDATED:
        return "changed" if change.row.display_name == change.remote.display_name else "renamed"
    kinds = {Verdict.CREATED: "created", Verdict.RESTORED: "restored", Verdict.REAPPEARED: "changed"}
    return kinds.get(change.verdict)


def _name(change: Change) -> str:
    is_renamed = change.row is not None and change.row.display_name != change.remote.display_name
    old = f"{change.row.display_name} → " if change.row is not None and is_renamed else ""
    return old + change.remote.display_name
