"""What must not happen on any page while a test visits it."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Error, Page, Request, Response

POLICY = "default-src 'self'"
# Chromium prints most violations; the event reports all of them.
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (violation) => {
  console.error(`policy: ${violation.violatedDirective} against ${violation.blockedURI} ${violation.sample}`);
});
"""


class Watch:
    """Collects violations of the Content-Security-Policy, script errors, failed requests and dialogs."""

    def __init__(self, page: "Page", *, forgives: str | None = None, has_policy: bool = True) -> None:
        """``forgives``: a part of the URLs that the test itself blocks; ``has_policy``: whether the site has one."""
        self._forgives, self._has_policy = forgives, has_policy
        self._complaints: list[str] = []
        page.add_init_script(TELL_VIOLATIONS)
        page.on("console", self._hear)
        page.on("dialog", self._dismiss)
        page.on("pageerror", self._note_error)
        page.on("requestfailed", self._note_failed)
        page.on("response", self._note_response)

    def check(self) -> None:
        assert not self._complaints, "\n".join(self._complaints)

    def _complain(self, words: str, url: str = "") -> None:
        if self._forgives is None or self._forgives not in url:
            self._complaints.append(words)

    def _hear(self, message: "ConsoleMessage") -> None:
        url = message.location["url"]
        asked_by_itself = url.endswith("/favicon.ico")  # and by no page of ours
        if message.type in ("error", "warning") and not asked_by_itself:
            self._complain(f"console: {message.text}", url)

    def _dismiss(self, dialog: "Dialog") -> None:
        self._complain(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_error(self, error: "Error") -> None:
        self._complain(f"script: {error}")

    def _note_failed(self, request: "Request") -> None:
        if request.failure != "net::ERR_ABORTED":  # a page that was left while it asked for something
            self._complain(f"no answer: {request.method} {request.url} ({request.failure})", request.url)

    def _note_response(self, response: "Response") -> None:
        url = response.url
        if response.status >= 400:
            self._complain(f"{response.status}: {response.request.method} {url}", url)
        path, policy = urlsplit(url).path, response.headers.get("content-security-policy", "")
        is_static = path.startswith("/static/")  # of Django's development server
        is_admin = path.startswith("/admin/")  # other pages are REST framework's and Swagger UI's, which need more
        holds = policy == POLICY if is_admin else policy.startswith(f"{POLICY}; ")
        if self._has_policy and not is_static and not holds:
            self._complain(f"no policy: {url}", url)
