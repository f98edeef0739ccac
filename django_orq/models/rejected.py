"""Rejected payloads: what Orq sent and the mirror could not take."""

from django.db import models
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from .fields import BytewiseCharField
from .runs import SyncRun


class RejectedPayload(models.Model):
    """What Orq sent and the mirror could not take, and why; one row for each id, or digest where there is no id."""

    workspace = BytewiseCharField(_("workspace"), max_length=100)
    key = BytewiseCharField(_("Orq id or fingerprint"), max_length=64)
    reason = models.TextField(_("reason"))
    excerpt = models.TextField(_("what Orq sent"))
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))
    resolved_at = models.DateTimeField(
        _("settled"), null=True, help_text=_("Since when it could be taken over, or was not listed any more.")
    )
    last_run = models.ForeignKey(
        SyncRun,
        verbose_name=_("last met by"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="rejected_payloads",
    )

    class Meta:
        verbose_name = _("unreadable entry")
        verbose_name_plural = _("unreadable entries")
        constraints = (models.UniqueConstraint(fields=("workspace", "key"), name="django_orq_rejectedpayload_unique"),)

    def __str__(self) -> str:
        """Of a digest, only so much as an id is long."""
        return Truncator(self.key).chars(31)
