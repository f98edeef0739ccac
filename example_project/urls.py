from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("orq/", include("django_orq.rest.urls")),
    path("api-auth/", include("rest_framework.urls")),  # the login of the browsable API
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("schema/page/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="schema-page"),
]
