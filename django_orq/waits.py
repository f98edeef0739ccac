"""The waits that Orq asks for: kept for a workspace, whoever was asked, and binding for everyone who uses its key."""

from datetime import timedelta

from .clock import DatabaseClock
from .exceptions import MustWait, OrqError
from .models import WorkspaceWait, write_database

LONGEST = timedelta(hours=1)


def check(workspace: str, *, operation: str, clock: DatabaseClock) -> None:
    """``MustWait`` while Orq wants to be left alone."""
    now = clock.now()
    until = (
        WorkspaceWait.objects.using(write_database())
        .filter(workspace=workspace, until__gt=now)
        .values_list("until", flat=True)
        .first()
    )
    if until is not None:
        raise MustWait(operation=operation, until=until, retry_after=(until - now).total_seconds())


def heed(workspace: str, error: OrqError, *, clock: DatabaseClock) -> None:
    """Keep what Orq asked for with this error, if it did; an hour at most."""
    if error.retry_after is None or isinstance(error, MustWait):
        return
    until = clock.now() + min(timedelta(seconds=min(error.retry_after, 86_400)), LONGEST)
    waits = WorkspaceWait.objects.using(write_database())
    wait, created = waits.get_or_create(workspace=workspace, defaults={"until": until})
    if not created:
        waits.filter(pk=wait.pk, until__lt=until).update(until=until)
