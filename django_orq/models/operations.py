"""Operations: bulk changes that users request, recorded before anything is sent, and their outcomes."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _, ngettext

from ..text import number
from .conversations import Conversation
from .fields import BytewiseCharField
from .work import Work


class Operation(Work):
    """One change requested for several conversations, processed item by item; or the creation of one conversation."""

    class Verb(models.TextChoices):
        CREATE = "create", _("create")
        RENAME = "rename", _("rename")
        DELETE = "delete", _("delete")
        REFRESH = "refresh", _("refresh")

    verb = models.CharField(_("action"), max_length=20, choices=Verb)
    form_token = models.CharField(max_length=32, null=True, unique=True, editable=False)  # noqa: DJ001 # absent is not ""
    """Identifies the form that requested it, so that submitting the form twice creates one operation."""
    requested_by = models.CharField(_("requested by"), max_length=255, default="", blank=True)
    """The name of a user. Not a foreign key, because users may be in another database."""
    requested_by_pk = models.CharField(max_length=255, default="", editable=False)
    retried_by = models.CharField(_("retried by"), max_length=255, default="", blank=True)
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    total = models.PositiveIntegerField(_("conversations"), default=0)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        indexes = (models.Index(fields=("finished_at",), name="django_orq_operation_finished"),)

    def __str__(self) -> str:
        text = ngettext(
            "#%(number)s: %(verb)s %(count)s conversation", "#%(number)s: %(verb)s %(count)s conversations", self.total
        )
        return text % {"number": self.pk, "verb": self.get_verb_display(), "count": number(self.total)}


class OperationItem(models.Model):
    """The change requested for one conversation, and its outcome."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        SENT = "sent", _("in progress")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("unknown")

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items")
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.SET_NULL, related_name="+")
    """The conversation to change; for a creation, the conversation that was created."""
    workspace = BytewiseCharField(_("workspace"), max_length=100)
    name = models.TextField(_("name"))
    """The conversation's name that the user saw, or that a retry may replace; for a creation, the name to give."""
    new_name = models.TextField(_("new name"), default="", blank=True)
    expected_updated_at = models.DateTimeField(null=True, editable=False)
    """The conversation's ``remote_updated_at`` that the user saw when requesting the change."""
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)
    newest_row = models.BigIntegerField(null=True, editable=False)
    """The primary key of the newest conversation in the mirror when the request was sent."""
    error_code = models.CharField(max_length=50, default="", editable=False)
    error_params = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    note = models.JSONField(default=dict, editable=False)
    """Details of the outcome.

    For a rename: ``replaced``, a name set in Orq that it replaced, or ``overtaken``, a name set in Orq since. For a
    failure: the seconds in ``retry_after``, and whether the item was ``skipped`` after an earlier failure. For a
    creation whose outcome was unknown: ``candidates``, the keys of the conversations that a later sync found. For an
    item that is tried again: ``retried_by``, the user for whom the change is recorded: key and name.
    """

    class Meta:
        verbose_name = _("operation item")
        verbose_name_plural = _("operation items")
        indexes = (models.Index(fields=("operation", "state"), name="django_orq_item_state"),)

    def __str__(self) -> str:
        return self.name
