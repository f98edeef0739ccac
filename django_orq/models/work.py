"""The abstract base of sync runs and operations: work that is done in slices."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..exceptions import explain


class Work(models.Model):
    """Work that is done in slices: one process at a time holds its lease. With Celery, a message starts each slice."""

    token = models.CharField(max_length=32, default="", editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(_("worker"), max_length=150, default="", blank=True)
    """The process that claimed it last: ``process 4711 on host``."""
    resume_at = models.DateTimeField(_("resumes at"), null=True)
    enqueued_at = models.DateTimeField(null=True, editable=False)
    """When the newest message was enqueued, or if it was delayed, the earliest time at which a worker takes it."""
    ticket = models.CharField(max_length=32, default="", editable=False)
    """Identifies the newest message. Only the slice of that message enqueues the next one, so there is one chain."""
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
        """Seconds from the start of the first slice to the end; ``None`` until the work has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def error_message(self) -> str:
        """The error in the reader's language; empty if there is none."""
        return explain(self.error_code, self.error_params) if self.error_code else ""
