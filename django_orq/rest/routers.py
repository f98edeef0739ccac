"""The root of the addresses, and the form that they have."""

from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import APIRootView, DefaultRouter

from .base import OneShape


class Root(OneShape, APIRootView):
    """Conversations of Orq and the sync runs that mirror them."""

    permission_classes = (IsAuthenticated,)


class OrqRouter(DefaultRouter):
    """Each address has one form: what an answer looks like is asked for by ``Accept``."""

    APIRootView = Root
    include_format_suffixes = False
