from collections.abc import Iterable

from django.db import connections, transaction
from django.urls import URLPattern


def outside_of_transactions(patterns: Iterable[URLPattern]) -> None:
    """Have these views called outside of ``ATOMIC_REQUESTS``, whichever database they use."""
    for pattern in patterns:
        for alias in connections:
            transaction.non_atomic_requests(using=alias)(pattern.callback)
