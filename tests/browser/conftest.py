"""A real browser, and the example project with a sandbox: `make browser`."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from django_orq.testing import OrqSandbox

from .looks import barriers, flaws
from .site import LOGIN, Site
from .watch import Watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

DESKTOP: Any = {"width": 1280, "height": 900}
PHONE: Any = {"width": 390, "height": 844}
LOOKS: Any = {"light": (DESKTOP, "light"), "dark": (DESKTOP, "dark"), "phone": (PHONE, "light")}
"""The layouts of the screenshots; the last one is that of the tests' own steps."""
AWKWARD = """<img src=x onerror=alert(1)>"'&lt;{{ 7 }}<script>alert(2)</script>"""
RIGHT_TO_LEFT = "שלום <b>עולם</b>"
POOL = 56
"""The number of conversations that tests take individually."""
MANY, FEW = 30, 3
"""The number of those that they take in groups."""


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 # installed by `make browser` alone

    with sync_playwright() as playwright:
        # Without Chromium's sandbox, which does not work as root in containers; it visits only our pages.
        browser = playwright.chromium.launch(executable_path=os.environ["ORQ_BROWSER"], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with a user, to be copied."""
    with OrqSandbox() as sandbox:
        site = Site(tmp_path_factory.mktemp("template"), sandbox=sandbox)
        site.prepare()
    return site.database


@pytest.fixture(scope="session")
def _shared_site(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with mirrored_site(tmp_path_factory.mktemp("site"), template, conversations=POOL, groups=True) as site:
        yield site


@contextmanager
def mirrored_site(
    folder: Path, template: Path, *, conversations: int, groups: bool = False, **options: Any
) -> Iterator[Site]:
    """A running site with a full mirror of a new sandbox; ``options`` are the workspace's."""
    with OrqSandbox(conversations=conversations) as sandbox:
        site = Site(folder, sandbox=sandbox, options=options)
        site.prepare(template)
        if groups:
            site.add_groups(11, of=MANY)
            site.add_groups(19, of=FEW)
        for name in (AWKWARD, RIGHT_TO_LEFT):
            sandbox.add(name)
        site.fill()
        with site.serving():
            yield site


@pytest.fixture
def site(_shared_site: Site) -> Iterator[Site]:
    """A running site that all tests share; each test uses its own conversations."""
    sandbox = _shared_site.sandbox
    sandbox.clear_requests()
    yield _shared_site
    sandbox.clear_faults()


@pytest.fixture(scope="session")
def _persons_context(chromium: "Browser", _shared_site: Site) -> "Iterator[BrowserContext]":
    context = new_context(chromium, _shared_site)
    yield context
    context.close()


@pytest.fixture
def page(site: Site, _persons_context: "BrowserContext") -> "Iterator[Page]":
    """A new page in the shared site, in the browser of a superuser."""
    page = _persons_context.new_page()
    watch = Watch(page)
    yield page
    page.close()
    _persons_context.clear_cookies(name="messages")  # those that the test did not look at
    watch.check()


@pytest.fixture
def open_browser(chromium: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens a page of a site in a separate browser, as another user; ``options`` are Playwright's."""
    with ExitStack() as opened:

        def open_(site: Site, *, forgives: str | None = None, **options: Any) -> "Page":
            context = new_context(chromium, site, **options)
            page = context.new_page()
            opened.callback(Watch(page, forgives=forgives).check)
            opened.callback(context.close)
            return page

        yield open_


@contextmanager
def watched(chromium: "Browser", site: Site, login: tuple[str, str] = LOGIN) -> "Iterator[Page]":
    """A page of a browser of its own, in whatever theme the site has."""
    context = chromium.new_context(base_url=site.url, locale="en", viewport=DESKTOP)
    context.set_default_timeout(30_000)
    page = context.new_page()
    watch = Watch(page, has_policy=site.theme.startswith("stock"))
    log_in(page, login)
    yield page
    context.close()
    watch.check()


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots."""
    folder = Path(os.environ.get("ORQ_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def look(site: Site, open_browser: Callable[..., Any], album: Path) -> "tuple[Page, Callable[[str], list[str]]]":
    """A page on a phone; takes the screenshots of all layouts and checks the page in each."""
    page = open_browser(site, viewport=PHONE)

    def take(name: str) -> list[str]:
        found = []
        for layout, (size, scheme) in LOOKS.items():
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            # Hiding the caret would add an inline style, which the policy forbids.
            page.screenshot(path=album / f"{name}-{layout}.png", full_page=True, caret="initial")
            # axe-core does not check sizes.
            found += [*flaws(page), *(() if layout == "phone" else barriers(page))]
        return [f"{name}: {flaw}" for flaw in found]

    return page, take


def new_context(chromium: "Browser", site: Site, **options: Any) -> "BrowserContext":
    """A logged-in browser context."""
    options = {"base_url": site.url, "locale": "en", "viewport": DESKTOP, "storage_state": site.login, **options}
    context = chromium.new_context(**options)
    context.set_default_timeout(30_000)
    if site.login is None:
        page = context.new_page()
        log_in(page)
        page.close()
        site.login = context.storage_state()
    return context


def log_in(page: "Page", login: tuple[str, str] = LOGIN) -> None:
    page.goto("/admin/")
    for name, text in zip(("username", "password"), login, strict=True):
        page.locator(f"[name={name}]").fill(text)
    page.locator("[type=submit]").first.click()
    page.wait_for_url("**/admin/")
