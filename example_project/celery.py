import os

from celery import Celery
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.task(name="example_project.prune", ignore_result=True)
def prune() -> None:
    """Delete the records of changes that are older than `KEEP_CHANGES_DAYS`."""
    call_command("orq_prune", changes=True, apply=True)
