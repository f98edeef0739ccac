"""System checks that find invalid or risky settings before a worker uses them.

They use neither network nor database, and do not call a callable key. Their ids are public, since
``SILENCED_SYSTEM_CHECKS`` refers to them:

| id | meaning |
|---|---|
| ``django_orq.E001`` | ``ORQ_WORKSPACES`` is invalid; the message is that of ``conf.get_workspace`` |
| ``django_orq.E002`` | ``USE_TZ`` is off |
| ``django_orq.W001`` | no workspace is configured |
| ``django_orq.W002`` | the API key is missing or can't be sent in a header |
| ``django_orq.W003`` | the API key would be sent unencrypted |
| ``django_orq.W004`` | the lease is shorter than the time that a worker may need between two checkpoints |
| ``django_orq.W009`` | the dialect requires a ``PROJECT_ID`` to create conversations |
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
"""The time that we allow for writing a batch to a busy database."""


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Run all checks; ``kwargs`` are the arguments that Django passes."""
    return [*_check_time_zone(), *_check_workspaces()]


def _check_time_zone() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield checks.Error(
            "django_orq needs USE_TZ = True.",
            hint="Times from Orq and the database's clock are in UTC; naive times could be hours off.",
            id="django_orq.E002",
        )


def _check_workspaces() -> Iterator[CheckMessage]:
    try:
        aliases = workspace_aliases()
    except ImproperlyConfigured as error:
        yield _invalid_settings(error)
        return
    if not aliases:
        yield checks.Warning(
            "No Orq workspace is configured.",
            hint="Set ORQ_API_KEY, as a setting or an environment variable, or ORQ_WORKSPACES for several workspaces.",
            id="django_orq.W001",
        )
    for alias in aliases:
        yield from _check_workspace(alias)


def _invalid_settings(error: ImproperlyConfigured) -> CheckMessage:
    hint = "Correct the setting. Until then the workspace can't be used."
    return checks.Error(str(error), hint=hint, id="django_orq.E001")


def _check_workspace(alias: str) -> Iterator[CheckMessage]:
    try:
        workspace = get_workspace(alias)
    except ImproperlyConfigured as error:
        yield _invalid_settings(error)
        return
    if problem := workspace.api_key.problem:
        yield checks.Warning(
            f"{workspace.api_key.label} {problem}.",
            hint="Correct it. Until then no request can be sent to Orq.",
            id="django_orq.W002",
        )
    if not _is_secure(workspace.base_url):
        yield checks.Warning(
            f"{_option(workspace, 'BASE_URL')} does not use https, so the API key would be sent unencrypted.",
            hint="Use https://…; plain http is only safe for a server on this machine.",
            id="django_orq.W003",
        )
    yield from _check_lease(workspace)
    if workspace.api_style == "camel" and workspace.project_id is None:
        yield checks.Warning(
            f"{_option(workspace, 'PROJECT_ID')} is not set, but with API_STYLE 'camel' Orq requires it to create "
            "conversations.",
            hint="Set it to the project's id in Orq. If you don't create conversations, silence this check.",
            id="django_orq.W009",
        )


def _check_lease(workspace: Workspace) -> Iterator[CheckMessage]:
    # Checkpoints renew the lease, and so does a worker while it waits for Orq. Leaving out the latter gives a margin:
    # the longest time between two renewals is then that of a batch of confirmations that lasts until the slice ends.
    slot_wait = 0 if workspace.requests_per_minute is None else MAX_SLEEP
    required = workspace.slice_seconds + slot_wait + TOTAL_SECONDS + WRITING_SECONDS
    if workspace.lease_seconds < required:
        yield checks.Warning(
            f"{_option(workspace, 'LEASE_SECONDS')} is {workspace.lease_seconds:g}, but a worker may need "
            f"{required:g} s between two checkpoints. Another could take over while the first is still working.",
            hint=f"Set it to {required:g} or more, or reduce SLICE_SECONDS. (A request may take {TOTAL_SECONDS:g} s, "
            f"and with REQUESTS_PER_MINUTE it may wait {MAX_SLEEP:g} s for its slot.)",
            id="django_orq.W004",
        )


def _is_secure(base_url: str) -> bool:
    """Return whether requests to this URL are encrypted or stay on this machine."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _option(workspace: Workspace, name: str) -> str:
    return f"ORQ_WORKSPACES[{workspace.alias!r}][{name!r}]"
