"""The configured workspaces, as the admin's pages need them."""

from django.core.exceptions import ImproperlyConfigured

from ..conf import workspace_aliases


def known_aliases() -> list[str]:
    """All configured aliases; none if the settings are wrong, which is told to who wants something of Orq."""
    try:
        return workspace_aliases()
    except ImproperlyConfigured:
        return []


def if_several(*names: str) -> tuple[str, ...]:
    """These names of columns or fields, where several workspaces need telling apart."""
    return names if len(known_aliases()) > 1 else ()
