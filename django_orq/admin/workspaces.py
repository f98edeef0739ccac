"""The configured workspaces, as the admin's pages need them."""

from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

from ..conf import workspace_aliases

Named = TypeVar("Named")


def known_aliases() -> list[str]:
    """All configured aliases; none if the settings are wrong, which is told to who wants something of Orq."""
    try:
        return workspace_aliases()
    except ImproperlyConfigured:
        return []


def are_several() -> bool:
    """Whether workspaces need telling apart."""
    return len(known_aliases()) > 1


def if_several(*shown: Named) -> tuple[Named, ...]:
    """These columns, fields or filters, where workspaces need telling apart; else nothing."""
    return shown if are_several() else ()
