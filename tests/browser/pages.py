"""The admin's pages, in a user's terms."""

import re
from urllib.parse import urlencode

from .playing import Locator, Page, expect
from .site import Row

LIST = "/admin/django_orq/conversation/"
ADD = f"{LIST}add/"
RUNS = "/admin/django_orq/syncrun/"
REJECTED = "/admin/django_orq/rejectedpayload/"
OPERATIONS = "/admin/django_orq/operation/"
CHANGES = "/admin/django_orq/conversationchange/"

FAULTS = {
    "401": {"status": 401, "body": '{"message": "Wrong key"}'},
    "404": {"status": 404, "body": '{"message": "Not here"}'},
    "500": {"status": 500, "body": "<h1>Broken</h1>"},
    "timeout": {"delay": 3},
}
"""Failures of a request to Orq; after the last one it is unknown whether it took effect."""


def change(row: Row) -> str:
    return f"{LIST}{row['id']}/change/"


def delete(row: Row) -> str:
    return f"{LIST}{row['id']}/delete/"


def fill_name(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def create(page: Page, name: str) -> None:
    page.goto(ADD)
    fill_name(page, name)
    save(page)


def rename(page: Page, row: Row, name: str) -> None:
    page.goto(change(row))
    fill_name(page, name)
    save(page)


def middle_of(element: Locator) -> tuple[float, float]:
    """Where to click at once, without waiting for the page as Playwright's own clicks do."""
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def confirm(page: Page) -> None:
    page.get_by_role("button", name="Yes, I’m sure").click()


def choose_action(page: Page, action: str, *, search: str, **filters: str) -> None:
    """Run an action on all rows that the list shows for this search."""
    page.goto(f"{LIST}?{urlencode({'q': search, **filters})}")
    page.get_by_label("Select all").check()
    _run(page, action)


def run_action(page: Page, action: str, rows: list[Row]) -> None:
    """Run an action on these rows of the current list."""
    for row in rows:
        page.locator(f'input[name="_selected_action"][value="{row["id"]}"]').check()
    _run(page, action)


def _run(page: Page, action: str) -> None:
    page.get_by_label("Action:").select_option(label=action)
    go(page).click()


def go(page: Page) -> Locator:
    """The button that runs an action, labelled “Run” since Django 6.1."""
    return page.get_by_role("button", name=re.compile("^(Go|Run)$"))


def full_sync(page: Page) -> None:
    page.goto(RUNS)
    page.get_by_role("button", name="Full sync").click()


def quoted(name: str) -> str:
    """A name as it is shown within sentences: isolated, whatever its direction."""
    return f"“\u2068{name}\u2069”"


def state(page: Page) -> Locator:
    """The state of a run or an operation, as its page updates it."""
    return page.locator("h2 [data-renewed=state]")


def expect_success(page: Page, *words: str) -> None:
    message = page.locator(".messagelist .success")
    expect(message).to_have_count(1)
    for each in words:
        expect(message).to_contain_text(each)


def expect_failure(page: Page, words: str) -> None:
    """Expect an error message with this text, and no success message."""
    expect(page.locator(".messagelist .error, .errornote, .errorlist").filter(has_text=words).first).to_be_visible()
    expect(page.locator(".messagelist .success")).to_have_count(0)
