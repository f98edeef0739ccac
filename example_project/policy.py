"""The Content-Security-Policy: strict for the admin, relaxed for the pages of REST framework and Swagger UI."""

from typing import Any

from csp.constants import SELF, UNSAFE_HASHES, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.urls import reverse

# The hash of the only inline script, in REST framework's log-out link: document.getElementById("logoutForm").submit()
LOG_OUT = "'sha256-tHTC1YgZ5UbAs8E2Ib4NjuSS8R05d1nfPHtbmXq05WA='"
OTHER_PAGES = {
    "script-src": [SELF, UNSAFE_HASHES, LOG_OUT],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
}


class PolicyMiddleware(CSPMiddleware):
    """Applies `CONTENT_SECURITY_POLICY`, and adds `OTHER_PAGES` to it outside the admin.

    REST framework and Swagger UI use inline styles, and images embedded in style sheets.
    """

    def get_policy_parts(self, request: HttpRequest, *args: Any, **kwargs: Any) -> PolicyParts:
        parts = super().get_policy_parts(request, *args, **kwargs)
        if not request.path.startswith(reverse("admin:index")):
            parts.update = OTHER_PAGES
        return parts
