"""Support finds conversations, creates several at once, and exports what changed."""

import csv
import re
from pathlib import Path

from .pages import CHANGES, LIST, change, confirm, create, delete, fill_name, save
from .playing import expect


def search(page, text):
    page.goto(LIST)
    page.locator("#searchbar").fill(text)
    page.get_by_role("button", name="Search", exact=True).click()


def test_unknown_id_is_fetched(site, page):
    there = site.sandbox.add("Only in Orq until now")["_id"]

    search(page, there)
    page.get_by_role("button", name="Fetch from Orq").click()

    expect(page.get_by_label("Name")).to_have_value("Only in Orq until now")
    assert site.conversations("remote_id = ?", there)


def test_deleted_conversation_is_found_by_its_id_and_by_its_name(site, page):
    row = site.take()
    page.goto(delete(row))
    confirm(page)

    search(page, row["remote_id"])
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator(".field-shown_state")).to_have_text("deleted")
    search(page, row["display_name"])
    page.get_by_role("link", name="show them").click()
    expect(page.locator(".field-name").first).to_have_text(row["display_name"])


def test_several_are_created_once_no_name_is_bad(site, page):
    page.goto(LIST)
    page.get_by_role("link", name="Create several").click()
    page.get_by_label("Names").fill("Call back 1\n" + "x" * 101 + "\nCall back 2")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".errorlist")).to_have_text("Line 2: A name can have at most 100 characters.")
    assert site.sandbox.count("create") == 0

    page.get_by_label("Names").fill("Call back 1\nCall back 2")
    page.get_by_role("button", name="Create").click()

    expect(page.locator("[data-renewed=state]")).to_have_text("finished")
    assert site.sandbox.count("create") == 2
    assert len(site.conversations("display_name LIKE ?", "Call back %")) == 2


def test_form_for_new_conversations_that_the_user_goes_back_to_is_empty(site, page):
    create(page, "Asked for once")
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    page.go_back()
    expect(page.get_by_label("Name")).to_have_value("")

    page.goto(f"{LIST}create-several/")
    page.get_by_role("link", name="Skip to main content").press("Enter")
    page.get_by_label("Names").fill("Asked for together 1\nAsked for together 2")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("[data-renewed=state]")).to_have_text("finished")
    page.go_back()
    expect(page.get_by_label("Names")).to_have_value("")


def test_changes_of_a_day_are_exported_as_they_are_listed(site, page, tmp_path):
    row = site.take()
    page.goto(change(row))
    fill_name(page, "Refund of a day")
    save(page)
    site.sandbox.rename(row["remote_id"], "Refund of a day, paid")
    page.goto(change(row))
    page.get_by_role("button", name="Refresh").click()
    page.goto(CHANGES)
    page.get_by_role("link", name="Today", exact=True).click()
    page.wait_for_url(re.compile("since="))
    page.locator("#searchbar").fill(row["remote_id"])  # other tests have changed more than a page shows
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url(re.compile("q=conv_"))

    with page.expect_download() as download:
        page.get_by_role("link", name="Export this list as CSV").click()
    path = Path(tmp_path / "changes.csv")
    download.value.save_as(path)

    with path.open(encoding="utf-8-sig", newline="") as lines:
        exported = list(csv.DictReader(lines))
    shown = page.locator("#result_list tbody tr")
    assert shown.count() == len(exported) == 2
    for number, record in enumerate(exported):
        expect(shown.nth(number).locator(".field-told")).to_contain_text(record["new_name"] or record["old_name"])
        origin = {"here": "this site", "orq": "Orq"}[record["origin"]]
        expect(shown.nth(number).locator(".field-origin")).to_have_text(origin)
    assert [record["new_name"] for record in exported] == ["Refund of a day, paid", "Refund of a day"]
