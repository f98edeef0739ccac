from django.apps import apps
from rest_framework.routers import SimpleRouter

from .views import ConversationViewSet, SyncRunViewSet

__all__ = ["app_name", "urlpatterns"]

app_name = "django_orq"

router = SimpleRouter()
router.register("conversations", ConversationViewSet)
router.register("sync-runs", SyncRunViewSet)

urlpatterns = router.urls

if apps.is_installed("drf_spectacular"):
    from . import schema  # noqa: F401 # it registers itself
