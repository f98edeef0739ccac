import os

from celery import Celery
from celery.signals import worker_process_init
from django.db import connection

app = Celery("tests.brokers")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def sign_what_is_written(**_) -> None:
    """So that the triggers of the ledger can record which of the worker's child processes wrote."""
    connection.settings_dict["OPTIONS"]["application_name"] = str(os.getpid())
