from django.db import models


class Ticket(models.Model):
    """A table of the project's own, joined to the mirror by an ordinary foreign key."""

    subject = models.CharField(max_length=200)
    # A conversation deleted at Orq keeps its row, marked as deleted, so this stays what it is.
    conversation = models.ForeignKey(
        "django_orq.Conversation",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="tickets",
    )

    def __str__(self) -> str:
        return self.subject
