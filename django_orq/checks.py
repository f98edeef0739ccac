"""System checks: what the settings get wrong, or will regret, said before a worker finds out.

Read live, without network and database; a callable key is not called. The ids are public, since
``SILENCED_SYSTEM_CHECKS`` refers to them:

| id | says |
|---|---|
| ``django_orq.E001`` | options of a workspace that can't be used, in the words of ``conf.get_workspace`` |
| ``django_orq.E002`` | ``USE_TZ`` is off |
| ``django_orq.W001`` | no workspace is configured |
| ``django_orq.W002`` | the API key is missing, or none that a request can carry |
| ``django_orq.W003`` | the key would travel unencrypted |
| ``django_orq.W004`` | the lease is too short for what a walker does between two checkpoints |
| ``django_orq.W005`` | a slice outlasts the visibility timeout of Celery's broker |
| ``django_orq.W006`` | a schedule entry for ``django_orq.sync_conversations`` does not expire |
| ``django_orq.W007`` | the guard against mass deletion never holds |
| ``django_orq.W008`` | Celery's configuration can't be read, so W005 and W006 were not looked for |
| ``django_orq.W009`` | the dialect wants a ``PROJECT_ID`` to create a conversation |
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from celery import _state, current_app
from celery.exceptions import ImproperlyConfigured as CeleryMisconfigured
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from .conf import LONGEST_SLEEP, Workspace, get_workspace, workspace_aliases
from .queues import SYNC
from .service import TOTAL_SECONDS

WRITING_SECONDS = 15.0
"""What writing a page, or a batch of confirmations, may take at most on a busy database."""


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """All of them; ``kwargs`` are Django's."""
    return [*_check_time_zone(), *_check_workspaces(), *_check_celery()]


def _check_time_zone() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield checks.Error(
            "django_orq needs USE_TZ = True.",
            hint="Orq's times, the database's clock and leases are compared; without zones they may be hours apart.",
            id="django_orq.E002",
        )


def _check_workspaces() -> Iterator[CheckMessage]:
    found = list(_workspaces())
    if not found:
        yield checks.Warning(
            "No Orq workspace is configured.",
            hint="Set ORQ_API_KEY, as a setting or an environment variable, or ORQ_WORKSPACES for more than one.",
            id="django_orq.W001",
        )
    for workspace in found:
        if isinstance(workspace, Workspace):
            yield from _check_workspace(workspace)
        else:
            yield checks.Error(
                str(workspace),
                hint="Nothing that needs this workspace works until it is corrected.",
                id="django_orq.E001",
            )


def _workspaces() -> Iterator[Workspace | ImproperlyConfigured]:
    """Each configured workspace, or what is wrong with it."""
    try:
        aliases = workspace_aliases()
    except ImproperlyConfigured as error:
        yield error
        return
    for alias in aliases:
        yield _read(alias)


def _read(alias: str) -> Workspace | ImproperlyConfigured:
    try:
        return get_workspace(alias)
    except ImproperlyConfigured as error:
        return error


def _check_workspace(workspace: Workspace) -> Iterator[CheckMessage]:
    if problem := workspace.api_key.problem:
        yield checks.Warning(
            f"{_option(workspace, 'API_KEY')} {problem}.",
            hint="Set it, or ORQ_API_KEY. Until then nothing can be asked of Orq.",
            id="django_orq.W002",
        )
    if not _is_private(workspace.base_url):
        yield checks.Warning(
            f"{_option(workspace, 'BASE_URL')} is not https, so everyone on the way can read the API key.",
            hint="Write https://…; plain http is for a server on this machine.",
            id="django_orq.W003",
        )
    yield from _check_lease(workspace)
    if workspace.api_style == "camel" and workspace.project_id is None:
        yield checks.Warning(
            f"{_option(workspace, 'PROJECT_ID')} is not set, and with API_STYLE 'camel' Orq wants it for each new "
            "conversation.",
            hint="Set it to the project's id in Orq; where nobody creates conversations, silence this.",
            id="django_orq.W009",
        )
    if workspace.mass_delete_share >= 1:
        yield checks.Warning(
            f"{_option(workspace, 'MASS_DELETE_SHARE')} is 1, so a full run may take every conversation for deleted "
            "without a person looking at it.",
            hint="Choose the share that may be deleted in Orq between two full runs, 0.2 for a fifth.",
            id="django_orq.W007",
        )


def _check_lease(workspace: Workspace) -> Iterator[CheckMessage]:
    """A lease is renewed by each checkpoint. The longest way between two is a batch of confirmations: it goes on for
    a slice, and then the request under way has its full time, and the batch is written."""
    longest = _longest_slice(workspace) + WRITING_SECONDS
    if workspace.lease_seconds < longest:
        yield checks.Warning(
            f"{_option(workspace, 'LEASE_SECONDS')} is {workspace.lease_seconds:g}, but a walker may need "
            f"{longest:g} s between two checkpoints. Another would take over while it still works.",
            hint=f"Make it {longest:g} or more, or SLICE_SECONDS shorter. (That is SLICE_SECONDS, the "
            f"{TOTAL_SECONDS:g} s that one request may last, with REQUESTS_PER_MINUTE the {LONGEST_SLEEP:g} s that it "
            f"may have to wait for its turn, and {WRITING_SECONDS:g} s for writing.)",
            id="django_orq.W004",
        )


def _longest_slice(workspace: Workspace) -> float:
    """Seconds, as a rule: a walk that has lost its cursor goes on until it has found its way."""
    turn = 0 if workspace.requests_per_minute is None else LONGEST_SLEEP
    return workspace.slice_seconds + turn + TOTAL_SECONDS


def _is_private(base_url: str) -> bool:
    """Whether nobody on the way reads what is sent there."""
    parts = urlsplit(base_url)
    return parts.scheme == "https" or _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_celery() -> Iterator[CheckMessage]:
    try:
        transport_options = _celery_option("broker_transport_options")
        schedule = _celery_option("beat_schedule")
    except (CeleryMisconfigured, ImportError) as error:
        yield checks.Warning(
            f"Celery's configuration can't be read: {error}",
            hint="Workers and beat will not start with it either.",
            id="django_orq.W008",
        )
        return
    for workspace in _workspaces():
        if isinstance(workspace, Workspace):
            yield from _check_visibility(workspace, transport_options.get("visibility_timeout"))
    for name, entry in schedule.items():
        yield from _check_entry(str(name), entry if isinstance(entry, Mapping) else vars(entry))


def _celery_option(name: str) -> Mapping[str, Any]:
    """From the project's Celery app if it is loaded, else from where Django projects keep it."""
    # Celery makes up an app for who asks for the current one too early, and the project's own then comes second to it.
    is_loaded = getattr(_state, "default_app", None) is not None
    value = current_app.conf[name] if is_loaded else getattr(settings, f"CELERY_{name.upper()}", None)
    return value if isinstance(value, Mapping) else {}


def _check_visibility(workspace: Workspace, timeout: object) -> Iterator[CheckMessage]:
    longest = _longest_slice(workspace)
    if isinstance(timeout, (int, float)) and timeout < longest:
        yield checks.Warning(
            f"A slice of workspace {workspace.alias!r} may last {longest:g} s, but Celery's broker hands a message "
            f"out again after {timeout:g} s (visibility_timeout).",
            hint="Make CELERY_BROKER_TRANSPORT_OPTIONS['visibility_timeout'] longer, or SLICE_SECONDS shorter. (A "
            f"slice's last request may take {TOTAL_SECONDS:g} s more, and with REQUESTS_PER_MINUTE wait "
            f"{LONGEST_SLEEP:g} s for its turn.)",
            id="django_orq.W005",
        )


def _check_entry(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """``entry`` has the keys of Celery's documentation; a ``ScheduleEntry`` gives the same ones."""
    if entry.get("task") == SYNC and (entry.get("options") or {}).get("expires") is None:
        yield checks.Warning(
            f"The schedule entry {name!r} calls {SYNC} without “expires”.",
            hint='While no worker runs its messages pile up. Add "options": {"expires": …}, in seconds, for '
            "example the entry's own interval.",
            id="django_orq.W006",
        )


def _option(workspace: Workspace, name: str) -> str:
    return f"ORQ_WORKSPACES[{workspace.alias!r}][{name!r}]"
