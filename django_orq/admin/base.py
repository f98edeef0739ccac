"""What the admin classes share: the appearance of their pages, and views in addition to the stock ones."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from ..conf import DEFAULT_ALIAS, workspace_aliases
from ..models import SyncRun, searching
from ..store.database import never_atomic, write_database

Shown = TypeVar("Shown")


class OrqAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic only in the stubs
    """The base of our admin classes. It avoids counting whole tables, and adds views of its own.

    What we add to a stock page is in a template that extends the one that would be used otherwise, whether it is the
    theme's, a mixin's or the project's. Our templates use only blocks that all of these render. Their buttons belong
    to a form outside any other form, because browsers drop nested forms.
    """

    show_add_link = True  # django-unfold needs it
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    own_list: ClassVar[type[ChangeList] | None] = None
    """Our change list, to be based on the stock one or the theme's."""
    own_views: ClassVar[Mapping[str, str]] = {}
    """Our own views: ``rename_selected`` has the URL ``rename-selected/``, below a prefix that ends with a slash."""

    class Media:
        css = {"all": ("django_orq/admin.css",)}  # noqa: RUF012 # as Django's documentation has it
        js = ("django_orq/progress.js",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.own_list is not None:
            # On the instance, so that it also applies if a subclass first inherits from a theme's admin class that has
            # a change list of its own.
            own, stock = self.own_list, self.get_changelist
            vars(self)["get_changelist"] = lambda request: type(own.__name__, (own, stock(request)), {})

    def get_workspaces(self, request: HttpRequest) -> list[str]:
        """The workspaces that the user may choose, create and fetch in, and sync; for a subclass to limit."""
        return known_aliases() or [DEFAULT_ALIAS]

    def may_use(self, request: HttpRequest, *aliases: str) -> bool:
        """Whether the user may choose these workspaces; those that are not configured are reported elsewhere."""
        return {*known_aliases()}.difference(self.get_workspaces(request)).isdisjoint(aliases)

    def own_fieldsets(self, request: HttpRequest, obj: Any) -> list[Any]:
        """The fieldsets of a page. ``fieldsets`` or ``fields`` of a subclass replace them, except on the add page."""
        return []

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and (self.fieldsets or self.fields):
            return super().get_fieldsets(request, obj)
        (title, options), *others = own = self.own_fieldsets(request, obj)
        added = [name for name in self.readonly_fields if name not in flatten_fieldsets(own)]
        return [(title, {**options, "fields": (*options["fields"], *added)}), *others]

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        if "\0" in str(value):  # PostgreSQL does not accept it
            raise IncorrectLookupParameters
        return super().lookup_allowed(lookup, value, request)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        return super().get_search_results(request, queryset, searching.cleaned(search_term))

    def get_urls(self) -> list[URLPattern]:
        """Exempt all views from ``ATOMIC_REQUESTS``, so that no transaction is open during requests to Orq."""
        patterns = [*map(self._own_url, self.own_views), *super().get_urls()]
        for pattern in patterns:
            never_atomic(pattern.callback)
        return patterns

    def _own_url(self, name: str) -> Any:
        route = f"{self.own_views[name]}{name.replace('_', '-')}/"
        view = self.admin_site.admin_view(getattr(self, f"{name}_view"))
        return path(route, view, name=_url_name(self.model, name))

    def _url_to(self, page: str, *args: Any) -> str:
        return url_to(self.admin_site, self.model, page, *args)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        """The context that the templates of all admin pages need."""
        context = self.admin_site.each_context(request) | {"title": title, "subtitle": None, "object": None}
        context |= {"opts": self.opts, "app_label": self.opts.app_label, "media": self.media}
        return context | {"form_url": "", "back_url": self._url_to("changelist")}

    def _render(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        """A page of our own."""
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self._template(template), {**self._page(request, title), **context})

    def _framed(self, response: Any, template: str) -> Any:
        """Let our template extend that of a stock page; other responses of a stock view stay as they are."""
        context = getattr(response, "context_data", None) or {}
        if context.keys() & {"cl", "adminform"}:
            if response._request.headers.get("X-Orq-Renewal"):
                context["messages"] = ()  # progress.js would not show them, and they are shown only once
            context["framed"] = response.resolve_template(response.template_name)
            response.template_name = self._template(template)
        return response

    def _template(self, name: str) -> str:
        """The path of our template, which is the same if a proxy of the model is registered."""
        model: Any = self.opts.concrete_model
        return f"admin/{model._meta.label_lower.replace('.', '/')}/{name}.html"


class ReadOnlyAdmin(OrqAdmin):
    """Read-only rows, read from the write database, so that new ones are shown immediately."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(write_database())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission


def url_to(site: admin.AdminSite, model: type[Model], page: str, *args: Any) -> str:
    """The URL of a page of the model on this site, for example its ``changelist``."""
    registered = admin_of(site, model)
    return reverse(f"admin:{_url_name(registered.model, page)}", args=args, current_app=site.name)


def _url_name(model: type[Model], page: str) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}_{page}"


def page_of(request: HttpRequest, site: admin.AdminSite, model: Any, page: str = "change") -> str:
    """The name of the page's URL, if this site has pages of the model and the user may see them; otherwise empty."""
    registered = admin_of(site, model)
    may = registered is not None and registered.has_view_permission(request)
    return f"admin:{_url_name(registered.model, page)}" if may else ""


def admin_of(site: admin.AdminSite, model: Any) -> Any:
    """The admin class that this site has registered for the model or for a proxy of it; ``None`` if there is none."""
    proxies = (one for one in apps.get_models() if one._meta.proxy and one._meta.concrete_model is model)
    return next((site.get_model_admin(one) for one in (model, *proxies) if site.is_registered(one)), None)


def ways_to_sync(request: HttpRequest, site: admin.AdminSite, workspace: str) -> dict[str, Any]:
    """For templates: the modes in which the user may sync this workspace, and the URL that starts a sync, or nothing.

    ``workspace`` may be empty: it is not chosen yet.
    """
    registered = admin_of(site, SyncRun)
    is_ours = hasattr(registered, "may_start") and workspace in ["", *registered.get_workspaces(request)]
    modes = [mode for mode in SyncRun.Mode.values if is_ours and registered.may_start(request, workspace, mode)]
    return {"start_url": url_to(site, SyncRun, "start") if modes else "", "start_modes": modes}


def known_aliases() -> list[str]:
    """The aliases of all workspaces; none if the settings are invalid, which is reported when Orq is contacted."""
    try:
        return workspace_aliases()
    except ImproperlyConfigured:
        return []


def are_several() -> bool:
    """Whether there are several workspaces to distinguish."""
    return len(known_aliases()) > 1


def if_several(*shown: Shown) -> tuple[Shown, ...]:
    """These columns, fields or filters if there are several workspaces; otherwise nothing."""
    return shown if are_several() else ()
