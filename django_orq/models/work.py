"""What processes take turns at; runs and operations are such work."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..exceptions import explain


class Work(models.Model):
    """Something that processes take turns at: who has it, until when, and the message that calls for the next one."""

    token = models.CharField(max_length=32, default="", editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(_("worked on by"), max_length=150, default="", blank=True)
    """The process that claimed it last: ``process 4711 on host``."""
    resume_at = models.DateTimeField(_("goes on at"), null=True)
    enqueued_at = models.DateTimeField(null=True, editable=False)
    """When the newest message was enqueued, or may be worked off at the earliest."""
    ticket = models.CharField(max_length=32, default="", editable=False)
    """What that message holds: only its slice enqueues the next, so that there is one chain of them."""
    trouble_since = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    error_code = models.CharField(_("error code"), max_length=50, default="", blank=True)
    error_params = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)

    class Meta:
        abstract = True

    @property
    def is_finished(self) -> bool:
        return self.finished_at is not None

    @property
    def seconds(self) -> float | None:
        """How long it took, from its first slice to its end; ``None`` while that is not known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def error_message(self) -> str:
        """What went wrong, for people; empty if nothing did."""
        return explain(self.error_code, self.error_params) if self.error_code else ""
