from .celery import app as celery_app

# Django imports this package first, and with it the app that @shared_task binds to.
__all__ = ["celery_app"]
