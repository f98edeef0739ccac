"""Sync runs: who walks through a workspace's list, from which checkpoint, and how a run ends.

A run is claimed with a token and a lease. Every page is written together with its checkpoint, and only by the
walker whose token the run still holds, so that any process may die at any moment and another goes on.
"""

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from . import rejects
from .clock import DatabaseClock
from .conf import Workspace, get_workspace
from .exceptions import InternalError, OrqError
from .models import SyncRun, write_database
from .service import ConversationService
from .walk import LeaseLost, Walk

logger = logging.getLogger("django_orq")

UNFINISHED = (SyncRun.State.QUEUED, SyncRun.State.RUNNING)


def check_mode(mode: str) -> SyncRun.Mode:
    """The mode of that name; ``ValueError`` says which there are."""
    try:
        return SyncRun.Mode(mode)
    except ValueError:
        raise ValueError(f"mode must be one of {', '.join(map(repr, SyncRun.Mode.values))}, not {mode!r}") from None


def open_run(workspace: str, mode: str) -> SyncRun:
    """The unfinished run of that workspace and mode, a new one if there is none."""
    get_workspace(workspace)
    mode = check_mode(mode)
    run, created = _runs().get_or_create(slot=f"{workspace}:{mode}", defaults={"workspace": workspace, "mode": mode})
    if created:
        logger.info("sync run %s queued: %s of workspace %s", run.pk, mode, workspace)
    return run


def run_slice(
    run_id: int, *, seconds: float | None = None, on_page: Callable[[SyncRun], None] | None = None
) -> SyncRun | None:
    """Walk on for about ``seconds`` (``SLICE_SECONDS`` of the workspace if not given), to the end if that comes first.

    Returns the run as it stands then, or ``None`` if it is finished or someone else walks. A run that fails is
    recorded as failed, and the error raised.
    """
    workspace = get_workspace(_runs().values_list("workspace", flat=True).get(pk=run_id))
    clock = DatabaseClock(write_database())
    run = _claim(run_id, workspace, clock)
    if run is None:
        return None
    return _walk_claimed(run, workspace, clock, seconds=seconds or workspace.slice_seconds, on_page=on_page)


def _walk_claimed(
    run: SyncRun,
    workspace: Workspace,
    clock: DatabaseClock,
    *,
    seconds: float,
    on_page: Callable[[SyncRun], None] | None,
) -> SyncRun | None:
    stop = time.monotonic() + seconds
    try:
        with ConversationService.for_workspace(workspace.alias) as service:
            walk = Walk(run, service=service, workspace=workspace, clock=clock)
            while not run.reached_end:
                walk.turn()
                if on_page:
                    on_page(run)
                if time.monotonic() >= stop and not walk.is_astray:
                    break
    except LeaseLost:
        logger.info("sync run %s: someone else walks it now", run.pk)
        return None
    except Exception as error:
        _fail(run, error, clock)
        raise
    except BaseException:
        _release(run)
        raise
    if run.reached_end:
        _finish(run, clock)
    else:
        _release(run)
    return run


def _claim(run_id: int, workspace: Workspace, clock: DatabaseClock) -> SyncRun | None:
    now = clock.now()
    token = uuid.uuid4().hex
    unclaimed = Q(lease_until=None) | Q(lease_until__lt=now)
    claimed = (
        _runs()
        .filter(unclaimed, pk=run_id, state__in=UNFINISHED)
        .update(
            state=SyncRun.State.RUNNING,
            token=token,
            lease_until=now + timedelta(seconds=workspace.lease_seconds),
            started_at=Coalesce(F("started_at"), now),
        )
    )
    return _runs().get(pk=run_id, token=token) if claimed else None


def _finish(run: SyncRun, clock: DatabaseClock) -> None:
    now = clock.now()
    whole = not run.rejected and not run.outdated
    state = SyncRun.State.SUCCEEDED if whole else SyncRun.State.PARTIAL
    if _close(_mine(run), state=state, finished_at=now):
        rejects.resolve_unseen(run, now=now)
    run.refresh_from_db()
    logger.log(
        logging.INFO if whole else logging.WARNING,
        "sync run %s %s: %s seen, %s created, %s updated, %s rejected, %s requests",
        *(run.pk, run.state, run.seen, run.created, run.updated, run.rejected, run.requests),
    )


def _fail(run: SyncRun, error: Exception, clock: DatabaseClock) -> None:
    _close(_mine(run), state=SyncRun.State.FAILED, finished_at=clock.now(), **_describe(error))
    run.refresh_from_db()
    logger.error("sync run %s failed after %s pages: %s", run.pk, run.pages, run.error_code)


def _release(run: SyncRun) -> None:
    _mine(run).update(token="", lease_until=None)
    run.token, run.lease_until = "", None


def _close(runs: QuerySet[SyncRun], **values: Any) -> int:
    return runs.update(slot=None, token="", lease_until=None, **values)


def _describe(error: Exception) -> dict[str, Any]:
    if isinstance(error, OrqError):
        return {"error_code": error.code, "error_params": error.params}
    name = type(error).__name__
    text = f"{name} ({error})" if isinstance(error, ImproperlyConfigured) else name
    return {"error_code": InternalError.code, "error_params": {"error": text}}


def _mine(run: SyncRun) -> QuerySet[SyncRun]:
    return _runs().filter(pk=run.pk, token=run.token)


def _runs() -> QuerySet[SyncRun]:
    return SyncRun.objects.using(write_database())
