from typing import Any

from django.db import migrations, models
from django.db.models.deletion import CASCADE, DO_NOTHING, PROTECT, SET_NULL

CONVERSATION = "django_orq.conversation"


def create(name: str, **fields: Any) -> migrations.CreateModel:
    key = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")
    return migrations.CreateModel(name=name, fields=[("id", key), *fields.items()], options={"abstract": False})


def key(to: str, on_delete: Any, **options: Any) -> models.Field:
    return models.ForeignKey(to=to, on_delete=on_delete, related_name="+", **options)


class Migration(migrations.Migration):
    initial = True
    dependencies = (("contenttypes", "0002_remove_content_type_name"), ("django_orq", "0001_initial"))
    operations = (
        migrations.CreateModel(name="Ticket", fields=[], options={"proxy": True}, bases=(CONVERSATION,)),
        create("Reference", conversation=key(CONVERSATION, SET_NULL, null=True, blank=True)),
        create("Detail", conversation=models.OneToOneField(CONVERSATION, CASCADE, related_name="+")),
        create("Bundle", conversations=models.ManyToManyField(CONVERSATION, related_name="+")),
        create(
            "Label",
            object_id=models.CharField(max_length=50),
            content_type=models.ForeignKey("contenttypes.contenttype", CASCADE),
        ),
        create("TicketReference", ticket=key("references.ticket", DO_NOTHING, db_constraint=False)),
        create(
            "Report",
            run=key("django_orq.syncrun", PROTECT, null=True),
            operation=key("django_orq.operation", PROTECT, null=True),
        ),
    )
