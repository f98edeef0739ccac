"""What is kept for a whole workspace: waits, and the pace of background work."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import BytewiseCharField


class WorkspaceWait(models.Model):
    """What binds everyone who uses a workspace's key: a wait that Orq asked for, and the pace of background work."""

    workspace = BytewiseCharField(_("workspace"), max_length=100, unique=True)
    until = models.DateTimeField(_("until"), null=True)
    next_slot_at = models.DateTimeField(_("next turn"), null=True)

    class Meta:
        verbose_name = _("wait")
        verbose_name_plural = _("waits")

    def __str__(self) -> str:
        return str(self.workspace)
