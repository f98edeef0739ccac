"""The names of the tasks, and where Celery sends their messages."""

from celery import current_app

SYNC = "django_orq.sync_conversations"
"""The name of the task that people schedule."""
WALK = "django_orq.walk_conversations"
"""The name of the task that works on a run for one slice."""
OPERATE = "django_orq.run_operation"
"""The name of the task that works on an operation for one slice."""


def queue_of(task: str) -> str:
    """The name of the queue that a task's messages go to, as the project's Celery app routes them."""
    route = current_app.amqp.router.route({}, task)
    queue = route.get("queue")
    return str(getattr(queue, "name", queue) or route.get("routing_key") or current_app.conf.task_default_queue)
