"""Every function of the admin, used once by clicks: in themes, and mixed with classes of others."""

import re
from contextlib import contextmanager

import pytest

from django_orq.testing import OrqSandbox

from .conftest import new_context, watched
from .pages import ADD, CHANGES, LIST, OPERATIONS, REJECTED, RUNS, change, delete, state
from .playing import Error, expect
from .site import VIEWER, Site

THEMES = ("stock", "stock-mixed", "unfold", "unfold-mixed", "jazzmin", "jazzmin-mixed")
_IN_A_HURRY = """
const later = setTimeout;
setTimeout = (does, milliseconds) => later(does, milliseconds / 10);
"""
"""Pages renew themselves ten times as often."""
UNREADABLE = {"_id": "conv_1", "displayName": "An id of another kind", "createdAt": 1_764_000_000_000}
OF_STOCK = {
    "searched": ["Ticket 3"],
    "failed": ["orq-failed", "orq-failed"],
    "tried again": ["orq-done", "orq-done"],
    "filtered": ["Ticket 6", "Ticket 2", "Ticket 1"],
    "runs": 1,
    "changes": 5,
    "renames": 4,
    "live": ["Made here", "Renamed", "Theirs", "New Ticket 5", "New Ticket 4", "Renamed there"],
    "deleted": ["Ticket 1", "Ticket 2", "Perhaps made", "Ticket 6", "Ticket 2", "Ticket 1"],
    "states of runs": ["succeeded", "partial", "cancelled", "succeeded", "succeeded"],
    "items": ["done"] * 8 + ["unknown", "done"],
    "rejected": 1,
    "requests": {"create": 4, "update": 5, "delete": 4, "retrieve": 12},
}
"""What becomes of it in the stock admin."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in THEMES], scope="module")
def themed(request, template, tmp_path_factory):
    with OrqSandbox() as sandbox:
        for number in range(1, 9):
            sandbox.add(f"Ticket {number}")
        guard = {"MASS_DELETE_MIN": 2, "MASS_DELETE_SHARE": 0.01}
        site = Site(tmp_path_factory.mktemp("themed"), sandbox=sandbox, theme=request.param, options=guard)
        site.prepare(template)
        site.fill()
        with site.serving():
            yield site


class Person:
    """What somebody clicks, and what the site answers."""

    def __init__(self, site: Site, page) -> None:
        self.site, self.page, self.theme = site, page, site.theme.partition("-")[0]
        page.add_init_script(_IN_A_HURRY)

    def go(self, url: str) -> None:
        self.page.goto(url)

    def click(self, name: str, role: str = "button") -> None:
        with self.navigating():
            self.page.locator("#content, .app-content").get_by_role(role, name=name, exact=True).click()

    @contextmanager
    def navigating(self):
        """Wait for the page that a click leads to; it may renew itself at once."""
        try:
            with self.page.expect_navigation():
                yield
        except Error as error:
            if "ERR_ABORTED" not in str(error):
                raise
            self.page.wait_for_load_state()

    def save(self, name: str) -> None:
        self.page.locator("#id_display_name").fill(name)
        with self.navigating():
            self.page.locator("[name=_save]:visible").click()

    def confirm(self) -> None:
        self.click("Yes, I’m sure")

    def act(self, action: str, *rows) -> None:
        """On the rows of the list that is shown."""
        for row in rows:
            box = self.page.locator(f'input.action-select[value="{row["id"]}"]')
            box.evaluate(
                "box => box.scrollIntoView({block: 'center'})"
            )  # unfold's actions cover what is at the bottom
            box.check()
        # Select2 hides it.
        self.page.locator("select[name=action]").select_option(value=action, force=self.theme == "jazzmin")
        self.page.locator("button[name=index]").click()

    def filter(self, label: str) -> None:
        if self.theme == "jazzmin":
            choices = self.page.locator("select.search-filter").filter(has_text=label)
            choices.select_option(label=label, force=True)
            self.page.locator("#changelist-search [type=submit]").click()
        else:
            if self.theme == "unfold":
                self.page.locator("a").filter(has_text=re.compile(r"^\s*Filters")).click()
            self.page.get_by_role("link", name=label, exact=True).click()
        self.page.wait_for_load_state()

    def names(self) -> list[str]:
        return self.page.locator("#result_list tbody tr .field-name").all_inner_texts()

    def outcomes(self) -> list[str | None]:
        return [row.get_attribute("class") for row in self.page.locator(".orq-items tbody tr").all()]

    def wait_for(self, shown: str) -> None:
        """Until the page has renewed itself."""
        expect(state(self.page)).to_have_text(shown)
        self.page.wait_for_load_state()


def use_everything(person: Person, site: Site) -> dict:
    page, sandbox = person.page, site.sandbox
    rows = site.conversations()  # newest first
    seen = {}

    person.go(LIST)
    page.locator("#searchbar").fill("Ticket 3")
    page.locator("#searchbar").press("Enter")
    page.wait_for_url("**q=Ticket*")
    seen["searched"] = person.names()

    person.go(LIST)
    page.locator("a[href*='/conversation/add/']").last.click()  # the one before is the sidebar's
    person.save("Made here")
    sandbox.fail("create", status=502, applied=True)
    person.go(ADD)
    person.save("Perhaps made")
    person.click("Fetch new")
    expect(page.locator("[data-renewed=state]")).to_have_text("completed")

    person.go(change(rows[0]))
    person.save("Renamed")
    person.go(change(rows[1]))
    sandbox.rename(rows[1]["remote_id"], "Theirs")
    person.save("Ours")
    expect(page.get_by_text("name is “")).to_be_visible()
    person.save("Ours")
    person.go(change(rows[1]))
    person.click("Rename back to “Theirs”")
    expect(page.locator(".orq-timeline li").first).to_contain_text("renamed")
    person.go(CHANGES)
    seen["changes"] = page.locator("#result_list tbody tr").count()
    person.filter("Today")
    person.filter("renamed")
    seen["renames"] = page.locator("#result_list tbody tr").count()
    page.locator(".orq-days [name=since]").fill("2026-01-01")
    page.locator(".orq-days [name=until]").fill("2026-01-02")
    with person.navigating():
        page.locator(".orq-days button").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(0)
    person.go(change(rows[2]))
    page.get_by_role("link", name=re.compile("^Delete")).click()
    person.click("No, take me back", "link")
    page.wait_for_url(f"**{change(rows[2])}")
    page.get_by_role("link", name="History").click()
    page.wait_for_url("**/history/")
    person.go(delete(rows[2]))
    person.confirm()

    person.go(LIST)
    person.act("rename_selected", *rows[3:5])
    for row in rows[3:5]:
        page.get_by_label(row["display_name"], exact=True).fill(f"New {row['display_name']}")
    person.click("Save")
    person.wait_for("finished")
    sandbox.rename(rows[5]["remote_id"], "Renamed there")
    person.go(LIST)
    person.act("refresh_selected", *rows[5:7])
    person.wait_for("finished")
    sandbox.fail("delete", status=401)
    person.go(LIST)
    person.act("delete_selected", *rows[6:8])
    person.confirm()
    person.wait_for("finished")
    seen["failed"] = person.outcomes()
    person.click("Retry failed and unknown items")
    person.wait_for("finished")
    seen["tried again"] = person.outcomes()
    person.go(LIST)
    person.filter("Deleted: no longer exist in Orq")
    seen["filtered"] = person.names()
    person.act("create_again", *rows[6:8])
    person.confirm()
    person.wait_for("finished")

    sandbox.fail("list", status=503, headers={"Retry-After": "600"})
    person.go(RUNS)
    person.click("Full sync")
    person.wait_for("waiting")
    person.click("Pause")
    person.wait_for("paused")
    person.click("Resume")
    person.wait_for("waiting")
    person.click("Cancel…", "link")
    person.confirm()
    person.wait_for("cancelled")
    site.forget_waits()

    kept = site.conversations("deleted_at IS NULL")
    for row in kept[:3]:
        sandbox.remove(row["remote_id"])
    sandbox.transform_list = lambda listed: {**listed, "data": [*listed["data"], UNREADABLE]}
    person.go(RUNS)
    person.click("Full sync")
    person.wait_for("completed with problems")
    page.get_by_role("link", name="Rejected items last seen in this run").click()
    page.wait_for_url("**/rejectedpayload/?last_run*")
    page.go_back()
    sandbox.transform_list = None
    person.click("Approve…", "link")
    person.confirm()
    expect(page.get_by_text("Approve…")).to_have_count(0)
    person.wait_for("completed with problems")
    person.go(LIST)
    person.click("Fetch new")
    person.wait_for("completed")
    person.go(RUNS)
    person.filter("cancelled")
    seen["runs"] = page.locator("#result_list tbody tr").count()
    page.locator("#result_list tbody a").first.click()
    expect(page.locator("h1.orq-title")).to_contain_text("Full sync")
    page.get_by_role("link", name="Close", exact=True).click()
    expect(page).to_have_url(re.compile("state__exact=cancelled"))
    return seen | {
        "live": [row["display_name"] for row in site.conversations("deleted_at IS NULL")],
        "deleted": [row["display_name"] for row in site.conversations("deleted_at IS NOT NULL")],
        "states of runs": [run["state"] for run in site.runs()],
        "items": [item["state"] for item in site.rows("django_orq_operationitem")],
        "rejected": len(site.rows("django_orq_rejectedpayload")),
        "requests": {name: sandbox.count(name) for name in ("create", "update", "delete", "retrieve")},
    }


def look_around(page, site: Site) -> None:
    """Who may only view sees every page, and no button of ours except those that lead back."""
    conversation, run, operation, rejected = (
        site.rows(f"django_orq_{name}")[0]["id"]
        for name in ("conversation", "syncrun", "operation", "rejectedpayload")
    )
    pages = [LIST, CHANGES, RUNS, OPERATIONS, REJECTED]
    pages += [
        f"{LIST}{conversation}/change/",
        f"{LIST}{conversation}/history/",
        f"{RUNS}{run}/change/",
        f"{OPERATIONS}{operation}/change/",
        f"{REJECTED}{rejected}/change/",
    ]
    for url in pages:
        page.goto(url)
        expect(page.locator("#result_list, #content-main, #content table, .timeline").first).to_be_visible()
        assert page.locator(".orq-button:not(.orq-no), [name=_save]").count() == 0


def test_every_function_does_in_each_theme_what_it_does_in_the_stock_admin(themed, chromium):
    with watched(chromium, themed) as page:
        assert use_everything(Person(themed, page), themed) == OF_STOCK
    with watched(chromium, themed, VIEWER) as page:
        look_around(page, themed)


def test_switch_of_workspaces_works_without_scripts(themed, chromium):
    row, *_others = themed.conversations("deleted_at IS NULL AND missing_since IS NULL")
    scripts = themed.theme.startswith("unfold")  # which shows nothing without them
    context = new_context(chromium, themed, java_script_enabled=scripts)
    page = context.new_page()
    names = page.locator("#result_list tbody tr .field-name")
    with themed.in_closed_workspace(row):
        page.goto(f"{LIST}?state=live")
        expect(names.filter(has_text=row["display_name"])).to_have_count(0)
        page.get_by_role("link", name="closed", exact=True).click()
        expect(names).to_have_text([row["display_name"]])
        page.locator("#searchbar").fill(row["display_name"])
        page.locator("#changelist-search [type=submit]").click()
        expect(page).to_have_url(re.compile("workspace=closed"))
        expect(names).to_have_text([row["display_name"]])
    context.close()
