from django.db import models

from django_orq.models import Conversation


class Reference(models.Model):
    conversation = models.ForeignKey(Conversation, models.SET_NULL, null=True, blank=True, related_name="+")

    def __str__(self) -> str:
        return f"Reference {self.pk}"
