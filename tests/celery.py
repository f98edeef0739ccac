from celery import Celery

app = Celery("tests", broker="memory://")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
