from typing import Any

from django.http import HttpRequest

from ..orders import Orderer


def orderer(request: HttpRequest) -> Orderer:
    """Who sends this request."""
    user: Any = request.user
    return Orderer(pk=str(user.pk), name=user.get_username())
