"""What a project's models refer to: how many of their rows belong to a conversation."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext

from ..models import Conversation
from ..store.references import referring_fields, rows_of
from ..text import number
from .base import admin_of, page_of

MAX_COUNTED = 1_000
MAX_LINKED = 100
"""The maximum number of conversations in a link, so that its URL is not too long."""


def references(request: HttpRequest, site: admin.AdminSite, rows: Sequence[Any]) -> Iterable[dict[str, str]]:
    """Yield the label of each relation to these conversations, the number of rows that refer to them, and their list.

    The ``url`` of the list is empty if this site has none. Models that the user may not view are left out.
    """
    for field in referring_fields():
        model = field.model._meta.auto_created or field.model  # not the table of a many-to-many field
        if _may_view(request, site, model):
            own = model._meta.local_many_to_many
            named = next((one for one in own if one.remote_field.through is field.model), field)
            names = {f"{named.name}__{theirs.name}__in": theirs.attname for _ours, theirs in field.related_fields}
            lookups = {lookup: [getattr(row, name) for row in rows] for lookup, name in names.items()}
            page = page_of(request, site, model, "changelist") if len(rows) <= MAX_LINKED else ""
            query = urlencode({lookup: ",".join(map(str, values)) for lookup, values in lookups.items()})
            url = f"{reverse(page, current_app=site.name)}?{query}" if page else ""
            yield {"label": _label(model, named), "count": _count(model, lookups), "url": url}


def _may_view(request: HttpRequest, site: admin.AdminSite, model: Any) -> bool:
    if (registered := admin_of(site, model)) is not None:
        return bool(registered.has_view_permission(request))
    user: Any = request.user
    return bool(user.has_perm(f"{model._meta.app_label}.{get_permission_codename('view', model._meta)}"))


def _label(model: Any, field: Any) -> str:
    """The plural name of the model, and the name of the field unless that is the usual one."""
    label, usual = capfirst(str(model._meta.verbose_name_plural)), Conversation._meta
    is_usual = field.verbose_name in (usual.verbose_name, usual.verbose_name_plural)
    return label if is_usual else f"{label} ({field.verbose_name})"


def _count(model: Any, lookups: dict[str, list[Any]]) -> str:
    """The number of rows, of which a limited number is read."""
    # A row that refers to several of the conversations is read several times. DISTINCT would read all rows.
    keys = list(rows_of(model).filter(**lookups).values_list("pk", flat=True)[:MAX_COUNTED])
    count = number(len({*keys}))
    return gettext("%(count)s or more") % {"count": count} if len(keys) == MAX_COUNTED else count
