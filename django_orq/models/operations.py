"""Operations: what people order for conversations, recorded before anything is done, and its outcomes."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..text import number
from .conversations import Conversation
from .fields import BytewiseCharField
from .work import Work


class Operation(Work):
    """What a person ordered for several conversations at once, worked off item by item; or a single creation."""

    class Verb(models.TextChoices):
        CREATE = "create", _("create")
        RENAME = "rename", _("rename")
        DELETE = "delete", _("delete")
        REFRESH = "refresh", _("refresh")

    verb = models.CharField(_("action"), max_length=20, choices=Verb)
    form_token = models.CharField(max_length=32, null=True, unique=True, editable=False)  # noqa: DJ001 # absent is not ""
    """Of the form that ordered it: a form that is sent twice orders once."""
    requested_by = models.CharField(_("ordered by"), max_length=255, default="", blank=True)
    """The name of a user. No foreign key: users may live in another database."""
    requested_by_pk = models.CharField(max_length=255, default="", editable=False)
    retried_by = models.CharField(_("tried again by"), max_length=255, default="", blank=True)
    retried_by_pk = models.CharField(max_length=255, default="", editable=False)
    requested_at = models.DateTimeField(_("ordered"), auto_now_add=True)
    total = models.PositiveIntegerField(_("conversations"), default=0)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")

    def __str__(self) -> str:
        text = ngettext(
            "#%(number)s: %(verb)s %(count)s conversation", "#%(number)s: %(verb)s %(count)s conversations", self.total
        )
        return text % {"number": self.pk, "verb": self.get_verb_display(), "count": number(self.total)}


class OperationItem(models.Model):
    """What was ordered for one conversation, and what became of it."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        SENT = "sent", _("being done")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("unknown")

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items")
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.SET_NULL, related_name="+")
    """The one that it is about; for a creation, the one that came of it."""
    workspace = BytewiseCharField(_("workspace"), max_length=100)
    name = models.TextField(_("name"))
    """What the conversation was called when this was ordered; for a creation, what it is to be called."""
    new_name = models.TextField(_("new name"), default="", blank=True)
    expected_updated_at = models.DateTimeField(null=True, editable=False)
    """The conversation's ``remote_updated_at`` as the person saw it."""
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    error_code = models.CharField(max_length=50, default="", editable=False)
    error_params = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    note = models.JSONField(default=dict, editable=False)
    """What else a person should know: the name that was ``replaced``, or that has ``overtaken`` the new one.

    Of a failure: after how many seconds to ``retry_after``, and whether it was ``skipped``.
    """

    class Meta:
        verbose_name = _("item of an operation")
        verbose_name_plural = _("items of operations")
        indexes = (models.Index(fields=("operation", "state"), name="django_orq_item_state"),)

    def __str__(self) -> str:
        return self.name
