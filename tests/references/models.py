"""The ways in which models of a project refer to conversations."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
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


class Dependent(Row):
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="+")


class Protector(Row):
    conversation = models.OneToOneField(Conversation, models.PROTECT, related_name="+")


class Bundle(Row):
    conversations = models.ManyToManyField(Conversation, related_name="+")


class Unconstrained(Row):
    conversation = models.ForeignKey(Conversation, models.DO_NOTHING, db_constraint=False, related_name="+")


class Label(Row):
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=50)
    labelled = GenericForeignKey("content_type", "object_id")


class LongNamed(Row):
    """Its table's name is as long as MariaDB has them, and longer than PostgreSQL, which cuts it, does.

    Between tests it is not emptied there, so it must have no constraints.
    """

    conversation = models.ForeignKey(Conversation, models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True, db_constraint=False)
    object_id = models.CharField(max_length=50)
    labelled = GenericForeignKey("content_type", "object_id")

    class Meta:
        db_table = "references_longnamed".ljust(64, "x")


class Tag(Row):
    """Has no generic foreign key: the relation is declared at its other end alone."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()


Conversation.add_to_class("tags", GenericRelation(Tag))


class Mention(Row):
    """Names a conversation by what names it in Orq."""

    workspace = models.CharField(max_length=100)
    remote_id = models.CharField(max_length=64)
    conversation = models.ForeignObject(
        Conversation,
        models.DO_NOTHING,
        from_fields=("workspace", "remote_id"),
        to_fields=("workspace", "remote_id"),
        related_name="+",
    )


class Ticket(Conversation):
    class Meta:
        proxy = True


class TicketReference(Row):
    """Refers to a proxy of the model."""

    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="+")


class Report(Row):
    """Lets go of neither the run nor the operation that it is about."""

    run = models.ForeignKey(SyncRun, models.PROTECT, null=True, related_name="+")
    operation = models.ForeignKey(Operation, models.PROTECT, null=True, related_name="+")
