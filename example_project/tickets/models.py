from django.db import models


class Ticket(models.Model):
    """A model of the project with an ordinary foreign key to the mirror."""

    subject = models.CharField(max_length=200)
    # A conversation that is deleted in Orq keeps its row, marked as deleted, so this reference stays valid.
    conversation = models.ForeignKey(
        "django_orq.Conversation",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="tickets",
    )

    def __str__(self) -> str:
        return self.subject
