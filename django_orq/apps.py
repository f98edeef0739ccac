from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoOrqConfig(AppConfig):
    name = "django_orq"
    verbose_name = _("Orq.ai")
    default_auto_field = "django.db.models.BigAutoField"
