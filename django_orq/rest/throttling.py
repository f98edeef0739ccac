"""How often what asks Orq may be asked for."""

from typing import Any

from rest_framework.settings import api_settings
from rest_framework.throttling import ScopedRateThrottle

__all__ = ["OrqThrottle"]


class OrqThrottle(ScopedRateThrottle):
    """Throttles by ``DEFAULT_THROTTLE_RATES["orq-write"]`` and ``["orq-sync"]``; what has no rate is not throttled."""

    scope_attr = "orq_throttle_scope"  # so that the stock class, as a project's default, does not count it too

    def get_rate(self) -> Any:
        return (api_settings.DEFAULT_THROTTLE_RATES or {}).get(self.scope or "")
