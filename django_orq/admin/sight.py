from typing import Any

from django.contrib import admin
from django.http import HttpRequest


def may_see(request: HttpRequest, site: admin.AdminSite, model: Any) -> bool:
    """Whether this site has pages of the model, and this person may look at them."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)
