"""The URL patterns, for a project to ``include()``. There are no format suffixes: clients send ``Accept``."""

from rest_framework.routers import SimpleRouter

from .views import ConversationChangeViewSet, ConversationViewSet, SyncRunViewSet

__all__ = ["app_name", "urlpatterns"]

app_name = "django_orq"
router = SimpleRouter()
router.register("conversations", ConversationViewSet)
router.register("changes", ConversationChangeViewSet)
router.register("conversations/(?P<remote_id>[^/]+)/changes", ConversationChangeViewSet, "conversationchange-of")
router.register("sync-runs", SyncRunViewSet)
urlpatterns = router.urls
