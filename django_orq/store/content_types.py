"""The content types that name conversations: the model's own, and those of the proxies that projects make of it."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from django.apps import apps
from django.db.models import Model, Q, QuerySet

from ..models import Conversation

if TYPE_CHECKING:
    from django.contrib.contenttypes.models import ContentType


def conversation_models() -> list[type[Model]]:
    """The model, and its proxies."""
    return [model for model in apps.get_models() if model._meta.concrete_model is Conversation]


def of_conversations(using: str) -> "QuerySet[ContentType]":
    """As that database has them: each numbers its own. Only where ``django.contrib.contenttypes`` is installed."""
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415 # perhaps not installed

    metas = [model._meta for model in conversation_models()]
    named = reduce(or_, (Q(app_label=meta.app_label, model=meta.model_name) for meta in metas))
    return ContentType.objects.using(using).filter(named)


def table() -> str:
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415 # perhaps not installed

    return ContentType._meta.db_table
