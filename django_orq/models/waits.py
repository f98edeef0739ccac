"""The rate-limit state of a workspace: waits that Orq asked for, and the pace of background work."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import BytewiseCharField


class WorkspaceWait(models.Model):
    """The rate-limit state that all users of a workspace's API key share.

    ``until`` is the end of a wait that Orq asked for; ``next_slot_at`` is the next slot under ``REQUESTS_PER_MINUTE``.
    """

    workspace = BytewiseCharField(_("workspace"), max_length=100, unique=True)
    until = models.DateTimeField(_("until"), null=True)
    next_slot_at = models.DateTimeField(_("next slot"), null=True)

    class Meta:
        verbose_name = _("wait")
        verbose_name_plural = _("waits")

    def __str__(self) -> str:
        return str(self.workspace)
