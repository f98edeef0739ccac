"""The record of changes: who changed a conversation's name, state or metadata, and when."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation
from .fields import BytewiseCharField
from .operations import Operation
from .readonly import ReadOnlyModel, ReadOnlyQuerySet
from .runs import SyncRun


class ConversationChange(ReadOnlyModel):
    """One change of a mirrored conversation. Entries are written together with the row, and only by this app.

    There is none for a conversation that a sync mirrors for the first time, nor for a change of times,
    ``updated_by_id`` or ``extra`` alone.
    """

    class Kind(models.TextChoices):
        CREATED = "created", _("created")
        RENAMED = "renamed", _("renamed")
        CHANGED = "changed", _("metadata changed")
        DELETED = "deleted", _("deleted")
        RESTORED = "restored", _("restored")

    class Origin(models.TextChoices):
        HERE = "here", _("this site")
        ORQ = "orq", _("Orq")

    refusal = (
        "Changes are recorded together with the rows of conversations and cannot be written directly. "
        "“manage.py orq_prune --changes” deletes old ones."
    )

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="changes", db_index=False, verbose_name=_("conversation")
    )
    workspace = BytewiseCharField(_("workspace"), max_length=100)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    old_name = models.TextField(_("old name"), null=True)  # noqa: DJ001 # absent is not ""
    new_name = models.TextField(_("new name"), null=True)  # noqa: DJ001 # absent is not ""
    fields = models.JSONField(_("changed metadata"), default=list)
    """The keys of the metadata that were added, changed or removed."""
    origin = models.CharField(_("origin"), max_length=10, choices=Origin)
    """Where the change was requested. A request whose response never arrived counts as Orq's."""
    actor_id = BytewiseCharField(_("person"), max_length=255, default="", blank=True)
    """The primary key of a user of this site, the text given as ``by``, or Orq's id of a person; empty if unknown."""
    actor_name = models.CharField(max_length=255, default="", blank=True)
    """The name of the user or the text given as ``by``; empty for changes made in Orq."""
    run = models.ForeignKey(
        SyncRun, null=True, on_delete=models.SET_NULL, related_name="changes", db_index=False, verbose_name=_("run")
    )
    operation = models.ForeignKey(
        Operation, models.SET_NULL, null=True, related_name="changes", verbose_name=_("operation")
    )
    remote_updated_at = models.DateTimeField(_("updated in Orq"))
    """The conversation's ``updatedAt`` in Orq after the change; for a deletion, the last one before it."""
    recorded_at = models.DateTimeField(_("recorded"))
    """When Orq's response arrived. Changes made in Orq are recorded when a sync sees them."""

    objects: ClassVar[models.Manager["ConversationChange"]] = ReadOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        indexes = (
            # For the lists, newest first: of one conversation, of a workspace, and of each filter.
            models.Index(fields=("conversation", "recorded_at", "id"), name="django_orq_change_of_conv"),
            models.Index(fields=("workspace", "recorded_at", "id"), name="django_orq_change_listed"),
            models.Index(fields=("workspace", "kind", "recorded_at", "id"), name="django_orq_change_kind"),
            models.Index(fields=("workspace", "origin", "recorded_at", "id"), name="django_orq_change_origin"),
            models.Index(fields=("workspace", "actor_id", "recorded_at", "id"), name="django_orq_change_actor"),
            models.Index(fields=("run", "recorded_at", "id"), name="django_orq_change_of_run"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.new_name or self.old_name or self.conversation_id}"
