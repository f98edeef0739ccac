from rest_framework.routers import SimpleRouter

from .views import ConversationViewSet

app_name = "django_orq"

router = SimpleRouter()
router.register("conversations", ConversationViewSet)

urlpatterns = router.urls
