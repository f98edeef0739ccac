from rest_framework.routers import SimpleRouter

from .views import ConversationViewSet, SyncRunViewSet

app_name = "django_orq"

router = SimpleRouter()
router.register("conversations", ConversationViewSet)
router.register("sync-runs", SyncRunViewSet)

urlpatterns = router.urls
