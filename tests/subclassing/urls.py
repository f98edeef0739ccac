from rest_framework.routers import SimpleRouter

from .views import Nameless, OneSerializer, OwnConversations, OwnRuns

router = SimpleRouter()
router.register("own", OwnConversations, basename="own")
router.register("one", OneSerializer, basename="one")
router.register("nameless", Nameless, basename="nameless")
router.register("runs", OwnRuns, basename="runs")
urlpatterns = router.urls
