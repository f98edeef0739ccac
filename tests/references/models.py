"""The ways in which a project's models refer to conversations and to our other models."""

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models

from django_orq.models import Conversation, Operation, SyncRun


class Row(models.Model):
    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}".capitalize()


class Reference(Row):
    conversation = models.ForeignKey(Conversation, models.SET_NULL, null=True, blank=True, related_name="+")


class Detail(Row):
    conversation = models.OneToOneField(Conversation, models.CASCADE, related_name="+")


class Bundle(Row):
    conversations = models.ManyToManyField(Conversation, related_name="+")


class Label(Row):
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=50)
    labelled = GenericForeignKey("content_type", "object_id")


class Ticket(Conversation):
    class Meta:
        proxy = True


class TicketReference(Row):
    """Refers to a proxy of the model, without a constraint in the database."""

    ticket = models.ForeignKey(Ticket, models.DO_NOTHING, db_constraint=False, related_name="+")


class Report(Row):
    """Protects both the run and the operation that it refers to."""

    run = models.ForeignKey(SyncRun, models.PROTECT, null=True, related_name="+")
    operation = models.ForeignKey(Operation, models.PROTECT, null=True, related_name="+")
