"""Rejected items: entries of Orq's list that could not be mirrored."""

from django.db import models
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from .fields import BytewiseCharField
from .runs import SyncRun


class RejectedPayload(models.Model):
    """An item of Orq's list that could not be mirrored, and why.

    There is one row per Orq id, or per digest of the item if it has no usable id.
    """

    workspace = BytewiseCharField(_("workspace"), max_length=100)
    key = BytewiseCharField(_("Orq id, or a checksum where there is none"), max_length=64)
    reason = models.TextField(_("reason"))
    excerpt = models.TextField(_("what Orq sent"))
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))
    resolved_at = models.DateTimeField(
        _("resolved on"), null=True, help_text=_("When the item was mirrored, or was no longer in Orq’s list.")
    )
    last_run = models.ForeignKey(
        SyncRun, models.SET_NULL, null=True, related_name="rejected_payloads", verbose_name=_("last seen in run")
    )

    class Meta:
        verbose_name = _("rejected item")
        verbose_name_plural = _("rejected items")
        constraints = (models.UniqueConstraint(fields=("workspace", "key"), name="django_orq_rejectedpayload_unique"),)

    def __str__(self) -> str:
        """Return the key; a digest is cut to the length of an id."""
        return Truncator(self.key).chars(31)
