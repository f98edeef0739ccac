"""The addresses, for a project to include. Each has one form: what an answer looks like is asked for by ``Accept``."""

from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import APIRootView, DefaultRouter

from .base import OrqView
from .views import ConversationViewSet, SyncRunViewSet

__all__ = ["app_name", "urlpatterns"]

app_name = "django_orq"


class Root(OrqView, APIRootView):
    """Conversations of Orq and the sync runs that mirror them."""

    permission_classes = (IsAuthenticated,)


class OrqRouter(DefaultRouter):
    APIRootView = Root
    include_format_suffixes = False


router = OrqRouter()
router.register("conversations", ConversationViewSet)
router.register("sync-runs", SyncRunViewSet)

urlpatterns = router.urls
