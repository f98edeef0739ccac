"""The addresses, for a project to include."""

from .routers import OrqRouter
from .views import ConversationViewSet, SyncRunViewSet

__all__ = ["app_name", "urlpatterns"]

app_name = "django_orq"

router = OrqRouter()
router.register("conversations", ConversationViewSet)
router.register("sync-runs", SyncRunViewSet)

urlpatterns = router.urls
