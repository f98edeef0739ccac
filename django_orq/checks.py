"""System checks that find invalid or risky settings before a worker uses them.

They do not use the network or call a callable key. Only W010 uses a database, and runs only if that database is named
(``manage.py check --database``, ``manage.py migrate``). Their ids are public, since ``SILENCED_SYSTEM_CHECKS`` refers
to them:

| id | meaning |
|---|---|
| ``django_orq.E001`` | ``ORQ_WORKSPACES`` is invalid; the message is that of ``conf.get_workspace`` |
| ``django_orq.E002`` | ``USE_TZ`` is off |
| ``django_orq.W001`` | no workspace is configured |
| ``django_orq.W002`` | the API key is missing or can't be sent in a header |
| ``django_orq.W003`` | the API key would be sent unencrypted |
| ``django_orq.W004`` | the lease is shorter than the time that a worker may need between two checkpoints |
| ``django_orq.W009`` | the dialect requires a ``PROJECT_ID`` to create conversations |
| ``django_orq.W010`` | the database cannot store every character |
| ``django_orq.W011`` | Celery stops a task before a slow request is answered |
| ``django_orq.W012`` | a setting begins with ``ORQ_``, but is none of this app |
| ``django_orq.W013`` | the URLs of the REST API are included, but ``rest_framework`` is not installed |
| ``django_orq.W014`` | Celery has no broker |
| ``django_orq.W015`` | a database has a time zone of its own |
"""

import ipaddress
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.urls import get_resolver
from django.utils.module_loading import import_string

from . import conf
from .conf import SETTINGS, TOTAL_SECONDS, Workspace, get_workspace, workspace_aliases

WRITING_SECONDS = 15.0
"""The time that we allow for writing a batch to a busy database."""
_INCOMPLETE_CHARACTER_SETS = {
    "mysql": "SELECT DISTINCT character_set_name FROM information_schema.columns WHERE table_schema = DATABASE() "
    "AND table_name LIKE 'django_orq_%' AND data_type = 'longtext' AND character_set_name <> 'utf8mb4'",
    "postgresql": "SELECT DISTINCT current_setting('server_encoding') FROM pg_tables "
    "WHERE tablename LIKE 'django_orq_%' AND current_setting('server_encoding') <> 'UTF8'",
}
"""Queries for those of our columns for texts from Orq. SQLite has complete ones only."""


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Run all checks that need no database; ``kwargs`` are the arguments that Django passes."""
    return [*_check_time_zone(), *_check_names(), *_check_workspaces(), *_check_rest(), *_check_celery()]


def check_characters(*, databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the database that the mirror is written to, if it is one of ``databases``."""
    alias = router.db_for_write(apps.get_model("django_orq", "Conversation"))
    if alias not in (databases or ()) or not (query := _INCOMPLETE_CHARACTER_SETS.get(connections[alias].vendor)):
        return []
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        found = ", ".join(name for (name,) in cursor.fetchall())
    text = f"The tables of django_orq in {alias!r} cannot store every character, for example emoji ({found})."
    hint = "Use utf8mb4 (MariaDB, MySQL) or UTF8 (PostgreSQL): see “Character sets” in the documentation."
    return [_warning("W010", text, hint)] if found else []


def _warning(number: str, text: str, hint: str) -> CheckMessage:
    return checks.Warning(text, hint=hint, id=f"django_orq.{number}")


def _check_time_zone() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        hint = "Times from Orq and the database's clock are in UTC; naive times could be hours off."
        yield checks.Error("django_orq needs USE_TZ = True.", hint=hint, id="django_orq.E002")
    for alias, database in settings.DATABASES.items():
        if database.get("TIME_ZONE") not in (None, "UTC"):
            hint = "Remove it: in the hour that summer time repeats, such a database cannot tell two times apart."
            yield _warning("W015", f"DATABASES[{alias!r}] has a TIME_ZONE, {database['TIME_ZONE']!r}.", hint)


def _check_names() -> Iterator[CheckMessage]:
    for name in dir(settings):
        if name.startswith("ORQ_") and name not in SETTINGS:
            text = f"{name} is not a setting of django_orq.{conf.likely(name, SETTINGS)}"
            hint = f"Its settings are {', '.join(SETTINGS)}. If this one is your own, silence this check."
            yield _warning("W012", text, hint)


def _check_workspaces() -> Iterator[CheckMessage]:
    try:
        aliases = workspace_aliases()
    except ImproperlyConfigured as error:
        yield _invalid_settings(error)
        return
    if not aliases:
        hint = "Set ORQ_API_KEY, as a setting or an environment variable, or ORQ_WORKSPACES for several workspaces."
        yield _warning("W001", "No Orq workspace is configured.", hint)
    for alias in aliases:
        yield from _check_workspace(alias)


def _check_rest() -> Iterator[CheckMessage]:
    is_included = bool(getattr(settings, "ROOT_URLCONF", None)) and "django_orq" in get_resolver().app_dict
    if is_included and not apps.is_installed("rest_framework"):
        text = "The URLs of django_orq's REST API are included, but 'rest_framework' is not in INSTALLED_APPS."
        yield _warning("W013", text, "Add it: its pages in the browser need its templates.")


def _check_celery() -> Iterator[CheckMessage]:
    if import_string("django_orq.tasks.has_no_broker")():  # tasks.py needs the models
        text = "Celery has no broker, so it tries RabbitMQ on this machine."
        hint = "Set CELERY_BROKER_URL, or what your Celery app reads. If you only use commands, silence this check."
        yield _warning("W014", text, hint)
    for task, name, seconds in import_string("django_orq.tasks.time_limits")():
        if seconds and seconds <= TOTAL_SECONDS:
            limit = f"{name} of the Celery task {task}"
            text = f"The {limit} is {seconds:g} s, but a request may take {TOTAL_SECONDS:g} s."
            yield _warning("W011", text, "Set it to 180 s or more, for all tasks or in task_annotations for this one.")


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
        hint = "Correct it. Until then no request can be sent to Orq."
        yield _warning("W002", f"{workspace.api_key.label} {problem}.", hint)
    if not _is_secure(workspace.base_url):
        is_default = workspace.base_url == conf.default_base_url()
        name = "ORQ_BASE_URL" if is_default else _option(workspace, "BASE_URL")
        text = f"{name} does not use https, so the API key would be sent unencrypted."
        yield _warning("W003", text, "Use https://…; plain http is only safe for a server on this machine.")
    yield from _check_lease(workspace)
    if workspace.api_style == "camel" and workspace.project_id is None:
        name = _option(workspace, "PROJECT_ID")
        text = f"{name} is not set, but API_STYLE 'camel' needs it to create conversations."
        hint = "Set it to the project's id in Orq. If you don't create conversations, silence this check."
        yield _warning("W009", text, hint)


def _check_lease(workspace: Workspace) -> Iterator[CheckMessage]:
    # Checkpoints renew the lease, and so does a worker while it waits for Orq. Leaving out the latter gives a margin:
    # the longest time between two renewals is then that of a batch of confirmations that lasts until the slice ends.
    slot_wait = 0 if workspace.requests_per_minute is None else conf.MAX_SLEEP
    required = workspace.slice_seconds + slot_wait + TOTAL_SECONDS + WRITING_SECONDS
    if workspace.lease_seconds < required:
        name, seconds = _option(workspace, "LEASE_SECONDS"), workspace.lease_seconds
        text = f"{name} is {seconds:g}, but a worker may need {required:g} s between two checkpoints."
        hint = f"Set it to {required:g} or more, or reduce SLICE_SECONDS. (A request may take {TOTAL_SECONDS:g} s.)"
        yield _warning("W004", f"{text} Another could take over while the first is still working.", hint)


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
