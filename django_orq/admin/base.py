"""What all classes of the admin share: the look of their pages, and pages of our own beside the stock ones."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from ..store.database import outside_of_transactions

Row = TypeVar("Row", bound=Model)

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

    def own_urls(self) -> list[URLPattern]:
        """Those of our own views, which ``_own_url`` makes."""
        return []

    def get_urls(self) -> list[URLPattern]:
        """Ours outside of ``ATOMIC_REQUESTS``, so that a worker is told, or not, before the person is."""
        patterns = self.own_urls()
        outside_of_transactions(patterns)
        return [*patterns, *super().get_urls()]

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


def url_to(site: admin.AdminSite, model: type[Model], page: str, *args: Any) -> str:
    """The address of a page of the model's on this site: of its ``changelist``, say."""
    return reverse(f"admin:{_url_name(model, page)}", args=args, current_app=site.name)


def _url_name(model: type[Model], page: str) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}_{page}"
