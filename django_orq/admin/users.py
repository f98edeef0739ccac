"""The person who sends a request: what they may look at, and as whom they order."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ..mirror.orders import Orderer


def may_see(request: HttpRequest, site: admin.AdminSite, model: Any) -> bool:
    """Whether this site has pages of the model, and this person may look at them."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)


def orderer(request: HttpRequest) -> Orderer:
    """As whom the person orders what this request asks for."""
    user: Any = request.user
    return Orderer(pk=str(user.pk), name=user.get_username())
