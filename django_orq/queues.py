"""The names of the tasks, and the queues that Celery routes them to."""

from celery import current_app

SYNC = "django_orq.sync_conversations"
"""The task that a project puts into its schedule."""
WALK = "django_orq.walk_conversations"
"""The task that works on a sync run for one slice."""
OPERATE = "django_orq.run_operation"
"""The task that works on an operation for one slice."""


def queue_of(task: str) -> str:
    """Return the name of the queue to which the project's Celery app routes a task."""
    route = current_app.amqp.router.route({}, task)
    queue = route.get("queue")
    return str(getattr(queue, "name", queue) or route.get("routing_key") or current_app.conf.task_default_queue)
