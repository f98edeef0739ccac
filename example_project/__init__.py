from .celery import app as celery_app

# Ensures that the Celery app is loaded when Django starts, so that @shared_task uses it.
__all__ = ["celery_app"]
