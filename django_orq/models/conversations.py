"""Mirrored conversations, as Orq last described them.

Only Orq's responses change these rows, apart from the scrubbing and deletion of old tombstones (``orq_prune``).
"""

from typing import ClassVar

from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils.translation import gettext_lazy as _

from ..text import is_blank
from .fields import BytewiseCharField, PlainJSONEncoder
from .readonly import ReadOnlyModel, ReadOnlyQuerySet


class ConversationState(models.TextChoices):
    LIVE = "live", _("live")
    UNLISTED = "unlisted", _("unlisted")
    MISSING = "missing", _("missing")
    DELETED = "deleted", _("deleted")


_ALIVE = Q(deleted_at=None)
_UNCONFIRMED = Q(missing_since__isnull=False, confirmed_at=None)


class ConversationQuerySet(ReadOnlyQuerySet["Conversation"]):
    def live(self) -> "ConversationQuerySet":
        """Return the conversations that exist in Orq as far as we know, including those that its list omits."""
        return self.filter(_ALIVE).exclude(_UNCONFIRMED)

    def missing(self) -> "ConversationQuerySet":
        """Return the conversations that were not found when last looked for and are not confirmed as deleted yet."""
        return self.filter(_ALIVE & _UNCONFIRMED)

    def deleted(self) -> "ConversationQuerySet":
        return self.filter(deleted_at__isnull=False)


class Conversation(ReadOnlyModel):
    """One conversation of an Orq workspace, as Orq last described it.

    Your own models can refer to it with a foreign key. Your code cannot write its columns; to change the
    conversation itself, call the functions of ``django_orq.mirror``.

    There is no default ordering: it would add an ORDER BY, which no index serves, to queries of all workspaces, and to
    those of your models that are ordered by the relation. Ids sort by time of creation: for the newest first, filter
    by ``workspace`` and order by ``-remote_id``.
    """

    refusal = (
        "Conversation rows mirror Orq and cannot be written directly. "
        "Call django_orq.mirror.{verb}(), which makes the change in Orq first.{in_tests}"
    )

    workspace = BytewiseCharField(_("workspace"), max_length=100, editable=False)
    remote_id = BytewiseCharField(_("Orq id"), max_length=64, editable=False)
    display_name = models.TextField(_("name"))
    remote_created_at = models.DateTimeField(_("created"), editable=False)
    remote_updated_at = models.DateTimeField(_("updated"), editable=False)
    created_by_id = models.TextField(_("created by"), null=True, editable=False)  # noqa: DJ001 # absent is not ""
    updated_by_id = models.TextField(_("updated by"), null=True, editable=False)  # noqa: DJ001 # absent is not ""
    metadata = models.JSONField(_("metadata"), encoder=PlainJSONEncoder, null=True, editable=False)
    extra = models.JSONField(_("other fields"), encoder=PlainJSONEncoder, default=dict, editable=False)
    fingerprint = models.BigIntegerField(null=True, editable=False)
    """A hash of the list item that this row was taken from; ``None`` if its last change came from elsewhere."""
    mirrored_at = models.DateTimeField(
        _("last change received"), editable=False, help_text=_("When Orq last reported a change to this conversation.")
    )
    missing_since = models.DateTimeField(_("missing since"), null=True, editable=False)
    confirmed_at = models.DateTimeField(
        _("last found by its id"), null=True, editable=False, help_text=_("When Orq last returned it by its id.")
    )
    deleted_at = models.DateTimeField(_("deleted"), null=True, editable=False)
    indexed_state = models.GeneratedField(
        expression=Case(
            When(deleted_at__isnull=False, then=Value(ConversationState.DELETED.value)),
            When(missing_since=None, then=Value(ConversationState.LIVE.value)),
            When(confirmed_at=None, then=Value(ConversationState.MISSING.value)),
            default=Value(ConversationState.UNLISTED.value),
        ),
        output_field=models.CharField(max_length=20),
        db_persist=True,
    )
    """``state`` as a generated column, for the indexes that the lists use."""

    objects: ClassVar[models.Manager["Conversation"]] = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        permissions = (("export_conversation", _("Can export conversations and changes")),)
        constraints = (models.UniqueConstraint(fields=("workspace", "remote_id"), name="django_orq_conv_unique"),)
        indexes = (
            # For the lists of one workspace by age: conversations that are not deleted, and those in one state (all
            # are in the order of the constraint's index). However few rows match, the database reads only those.
            models.Index(fields=("workspace", "deleted_at", "remote_id"), name="django_orq_conv_listed"),
            models.Index(fields=("workspace", "indexed_state", "remote_id"), name="django_orq_conv_of_state"),
            # For programs that poll for conversations updated since their last request.
            models.Index(fields=("workspace", "deleted_at", "remote_updated_at"), name="django_orq_conv_updated"),
        )

    told = ""
    """A name to be shown instead, where namesakes have to be told apart."""

    def __str__(self) -> str:
        return self.told or (str(self.remote_id) if is_blank(self.display_name) else self.display_name)

    @property
    def is_scrubbed(self) -> bool:
        """Whether the contents of this tombstone were removed (``manage.py orq_prune --scrub-older-than``)."""
        return self.deleted_at is not None and not self.display_name

    @property
    def state(self) -> ConversationState:
        if self.deleted_at is not None:
            return ConversationState.DELETED
        if self.missing_since is None:
            return ConversationState.LIVE
        return ConversationState.MISSING if self.confirmed_at is None else ConversationState.UNLISTED
