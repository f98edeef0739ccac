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
| ``django_orq.W004`` | the lease is too short for what a worker does between two checkpoints |
| ``django_orq.W009`` | the dialect wants a ``PROJECT_ID`` to create a conversation |
"""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from .conf import MAX_SLEEP, TOTAL_SECONDS, Workspace, get_workspace, workspace_aliases

WRITING_SECONDS = 15.0
"""What writing a page, or a batch of confirmations, may take at most on a busy database."""


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """All of them; ``kwargs`` are Django's."""
    return [*_check_time_zone(), *_check_workspaces()]


def _check_time_zone() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield checks.Error(
            "django_orq needs USE_TZ = True.",
            hint="Orq's times, the database's clock and leases are compared; without zones they may be hours apart.",
            id="django_orq.E002",
        )


def _check_workspaces() -> Iterator[CheckMessage]:
    try:
        aliases = workspace_aliases()
    except ImproperlyConfigured as error:
        yield _unusable(error)
        return
    if not aliases:
        yield checks.Warning(
            "No Orq workspace is configured.",
            hint="Set ORQ_API_KEY, as a setting or an environment variable, or ORQ_WORKSPACES for more than one.",
            id="django_orq.W001",
        )
    for alias in aliases:
        yield from _check_workspace(alias)


def _unusable(error: ImproperlyConfigured) -> CheckMessage:
    hint = "Nothing that needs this workspace works until it is corrected."
    return checks.Error(str(error), hint=hint, id="django_orq.E001")


def _check_workspace(alias: str) -> Iterator[CheckMessage]:
    try:
        workspace = get_workspace(alias)
    except ImproperlyConfigured as error:
        yield _unusable(error)
        return
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


def _check_lease(workspace: Workspace) -> Iterator[CheckMessage]:
    # A lease is renewed by each checkpoint. The longest way between two is a batch of confirmations: it lasts for a
    # slice, then the request under way has its full time, and the batch is written.
    turn = 0 if workspace.requests_per_minute is None else MAX_SLEEP
    longest = workspace.slice_seconds + turn + TOTAL_SECONDS + WRITING_SECONDS
    if workspace.lease_seconds < longest:
        yield checks.Warning(
            f"{_option(workspace, 'LEASE_SECONDS')} is {workspace.lease_seconds:g}, but a worker may need "
            f"{longest:g} s between two checkpoints. Another would take over while it still works.",
            hint=f"Make it {longest:g} or more, or SLICE_SECONDS shorter. (One request may last {TOTAL_SECONDS:g} s, "
            f"and with REQUESTS_PER_MINUTE wait {MAX_SLEEP:g} s for its turn.)",
            id="django_orq.W004",
        )


def _is_private(base_url: str) -> bool:
    """Whether nobody on the way reads what is sent there: it is encrypted, or stays on this machine."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _option(workspace: Workspace, name: str) -> str:
    return f"ORQ_WORKSPACES[{workspace.alias!r}][{name!r}]"
