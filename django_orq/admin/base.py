"""What the classes of the admin share: the look of their pages, and pages of our own beside the stock ones."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from ..conf import workspace_aliases
from ..mirror.operations import Requester
from ..store.database import never_atomic, write_database
from ..sync.report import Progress

Row = TypeVar("Row", bound=Model)
Shown = TypeVar("Shown")

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin
else:

    class _ModelAdmin(admin.ModelAdmin):
        def __class_getitem__(cls, model: Any) -> Any:
            return cls  # generic in the stubs alone


class OrqAdmin(_ModelAdmin[Row]):
    """Counts no table for its own sake, and has views of its own."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ("django_orq/admin.css",)}  # noqa: RUF012 # as Django's documentation has it
        js = ("django_orq/progress.js",)

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        if "\0" in str(value):  # which PostgreSQL can't compare with
            raise IncorrectLookupParameters
        return super().lookup_allowed(lookup, value, request)

    def own_urls(self) -> list[URLPattern]:
        """Those of our own views, which ``_own_url`` makes."""
        return []

    def get_urls(self) -> list[URLPattern]:
        """Outside of ``ATOMIC_REQUESTS``: no transaction is open while Orq is asked or a worker is notified."""
        patterns = [*self.own_urls(), *super().get_urls()]
        for pattern in patterns:
            never_atomic(pattern.callback)
        return patterns

    def _own_url(self, name: str, view: Callable[..., HttpResponse], *, below: str = "") -> URLPattern:
        """``go_on`` is at ``go-on/``, ``below`` a route that ends with a slash."""
        route = f"{below}{name.replace('_', '-')}/"
        return path(route, self.admin_site.admin_view(view), name=_url_name(self.model, name))

    def _url_to(self, page: str, *args: Any) -> str:
        return url_to(self.admin_site, self.model, page, *args)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        """What the templates of any page of the admin want to know."""
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "subtitle": None,
            "opts": self.opts,
            "app_label": self.opts.app_label,
            "media": self.media,
        }

    def _render(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        """A page of our own."""
        request.current_app = self.admin_site.name
        name = f"admin/{self.opts.app_label}/{self.opts.model_name}/{template}.html"
        return TemplateResponse(request, name, {**self._page(request, title), **context})


class ReadOnlyAdmin(OrqAdmin[Row]):
    """Rows that nobody writes by hand, from where they are written: those that have just been made are there."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        rows: QuerySet[Row] = super().get_queryset(request)
        return rows.using(write_database())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def answer_progress(extent: Progress, *, is_finished: bool, text: str, fields: dict[str, str]) -> HttpResponse:
    """How far something is, for the page's script; ``fields`` are texts by the ``data-field`` of their elements."""
    value = extent.done if extent.total else None
    return JsonResponse({"finished": is_finished, "value": value, "max": extent.total, "text": text, "fields": fields})


def url_to(site: admin.AdminSite, model: type[Model], page: str, *args: Any) -> str:
    """The address of a page of the model's on this site: of its ``changelist``, say."""
    return reverse(f"admin:{_url_name(model, page)}", args=args, current_app=site.name)


def _url_name(model: type[Model], page: str) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}_{page}"


def may_see(request: HttpRequest, site: admin.AdminSite, model: Any) -> bool:
    """Whether this site has pages of the model, and this person may look at them."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)


def requester(request: HttpRequest) -> Requester:
    """As whom the person requests what this request asks for."""
    user: Any = request.user
    return Requester(pk=str(user.pk), name=user.get_username())


def known_aliases() -> list[str]:
    """All configured workspaces; none if the settings are wrong, which is told to who wants something of Orq."""
    try:
        return workspace_aliases()
    except ImproperlyConfigured:
        return []


def are_several() -> bool:
    """Whether workspaces need telling apart."""
    return len(known_aliases()) > 1


def if_several(*shown: Shown) -> tuple[Shown, ...]:
    """These columns, fields or filters, where workspaces need telling apart; else nothing."""
    return shown if are_several() else ()
