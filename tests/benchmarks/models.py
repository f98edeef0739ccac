"""The table of all contestants except `ours`."""

from django.db import models

from django_orq.models import Conversation
from django_orq.models.fields import BytewiseCharField


class Copy(models.Model):
    """A conversation as a project would mirror it by itself. It has the indexes of our own model."""

    workspace = BytewiseCharField(max_length=100)
    remote_id = BytewiseCharField(max_length=64)
    display_name = models.TextField()
    remote_created_at = models.DateTimeField()
    remote_updated_at = models.DateTimeField()
    created_by_id = models.TextField(null=True)  # noqa: DJ001 # as in our own model
    updated_by_id = models.TextField(null=True)  # noqa: DJ001 # as in our own model
    metadata = models.JSONField(null=True)
    extra = models.JSONField(default=dict)
    mirrored_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)
    indexed_state = models.CharField(max_length=20, default="live")
    fingerprint = models.BigIntegerField(null=True)
    """Only written by the loop that skips unchanged rows."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("workspace", "remote_id"), name="benchmarks_copy_unique"),)
        indexes = tuple(
            models.Index(fields=index.fields, name=f"benchmarks_copy_{number}")
            for number, index in enumerate(Conversation._meta.indexes)
        )

    def __str__(self) -> str:
        return self.display_name
