"""The app configuration, which registers the system checks."""

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.utils.translation import gettext_lazy as _

from .checks import check_characters, check_settings


class DjangoOrqConfig(AppConfig):
    name = "django_orq"
    verbose_name = _("Orq.ai")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        register(check_settings, "django_orq")
        register(check_characters, Tags.database)
