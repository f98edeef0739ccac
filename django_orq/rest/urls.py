"""The URL patterns, for a project to ``include()``. There are no format suffixes: clients send ``Accept``."""

from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import APIRootView, DefaultRouter

from .base import OrqView, with_project_permissions
from .views import ConversationViewSet, SyncRunViewSet

__all__ = ["app_name", "urlpatterns"]

app_name = "django_orq"


class Root(OrqView, APIRootView):
    """Conversations of Orq, and the sync runs that mirror them."""

    permission_classes = with_project_permissions(IsAuthenticated)


class OrqRouter(DefaultRouter):
    APIRootView = Root
    include_format_suffixes = False


router = OrqRouter()
router.register("conversations", ConversationViewSet)
router.register("sync-runs", SyncRunViewSet)

urlpatterns = router.urls
