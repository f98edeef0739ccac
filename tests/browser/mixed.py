"""The example project's addresses, with our admin classes mixed with a theme's and import-export's."""

from django.conf import settings
from django.contrib import admin
from import_export.admin import ExportActionMixin

from django_orq import admin as ours
from django_orq.models import Conversation, Operation, RejectedPayload, SyncRun

mixins = [ExportActionMixin]
if settings.THEME == "unfold":
    from unfold.admin import ModelAdmin

    mixins.append(ModelAdmin)

for model in (Conversation, Operation, RejectedPayload, SyncRun):
    own = getattr(ours, f"{model.__name__}Admin")
    admin.site.unregister(model)
    bases = (own, *mixins) if model is SyncRun else (*mixins, own)  # in either order
    admin.site.register(model, type("Mixed", bases, {}))

from example_project.urls import urlpatterns as urlpatterns  # noqa: E402 # which reads what is registered
