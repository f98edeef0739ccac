"""The ways in which models of a project refer to conversations, and to what we keep besides."""

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
    """Refers to a proxy of the model, and the database knows nothing of it."""

    ticket = models.ForeignKey(Ticket, models.DO_NOTHING, db_constraint=False, related_name="+")


class Report(Row):
    """Lets go of neither the run nor the operation that it is about."""

    run = models.ForeignKey(SyncRun, models.PROTECT, null=True, related_name="+")
    operation = models.ForeignKey(Operation, models.PROTECT, null=True, related_name="+")
