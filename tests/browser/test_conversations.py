"""Single conversations created, renamed and deleted by a user, with and without failures of Orq."""

import re

import pytest

from .conftest import AWKWARD, RIGHT_TO_LEFT
from .pages import (
    ADD,
    CHANGES,
    FAULTS,
    LIST,
    change,
    confirm,
    create,
    delete,
    expect_failure,
    expect_success,
    fill_name,
    middle_of,
    quoted,
    rename,
    save,
    state,
)
from .playing import expect
from .site import held_requests

each_fault = pytest.mark.parametrize("fault", FAULTS)


def mirrored_values(row):
    """All values except the mark that a 404 leaves."""
    return {name: value for name, value in row.items() if name not in ("missing_since", "indexed_state")}


def remote_name(site, row):
    return site.sandbox.get(row["remote_id"])["displayName"]


def assert_untouched(site, row, *, missing=False):
    now = site.again(row)
    assert mirrored_values(now) == mirrored_values(row)
    assert (now["missing_since"] is not None) == missing
    assert site.history(row) == []


# Create


@each_fault
def test_failed_create_keeps_the_text_and_leaves_no_trace(site, page, fault):
    site.sandbox.fail("create", **FAULTS[fault])
    name = f"Created in vain: {fault}"

    create(page, name)

    certain = fault != "timeout"
    expect_failure(page, "The conversation was not created." if certain else "The conversation may have been created.")
    expect(page.get_by_label("Name")).to_have_value(name)
    assert site.conversations("display_name = ?", name) == []
    assert site.rows("django_admin_log", "object_repr = ?", name) == []
    assert site.sandbox.count("create") == 1


def test_bad_name_is_refused_beside_its_field(site, page):
    create(page, "x" * 101)

    expect_failure(page, "100")
    expect(page.get_by_label("Name")).to_have_value("x" * 101)
    assert site.sandbox.count() == 0


def click_twice(site, page, button, operation):
    """Click again once the first click's request has reached Orq."""
    middle = middle_of(page.get_by_role("button", name=button, exact=True))
    with held_requests(site.sandbox, operation) as arrived:
        page.mouse.click(*middle)
        assert arrived.wait(50)
        with page.expect_request(lambda request: request.method == "POST"):
            page.mouse.click(*middle)
        page.wait_for_timeout(1_000)  # until the site has seen that it is the second


def test_double_click_on_save_creates_one_conversation(site, page):
    page.goto(ADD)
    fill_name(page, "Clicked twice")

    click_twice(site, page, "Save", "create")

    expect(state(page)).to_have_text("finished")  # the page of the operation, where the second click led to
    expect(page.get_by_role("row", name="Clicked twice")).to_contain_text("Created.")
    assert site.sandbox.count("create") == 1
    assert len(site.conversations("display_name = ?", "Clicked twice")) == 1


# Rename


@pytest.mark.parametrize("operation", ["retrieve", "update"])
def test_double_click_on_save_renames_and_tells_one_outcome(site, page, operation):
    row = site.take()
    page.goto(change(row))
    fill_name(page, "Renamed by two clicks")

    click_twice(site, page, "Save", operation)

    expect_success(page, "Renamed by two clicks")
    assert remote_name(site, row) == site.again(row)["display_name"] == "Renamed by two clicks"


@pytest.mark.parametrize("operation", ["retrieve", "update"])
@each_fault
def test_failed_rename_keeps_the_text_and_changes_no_value(site, page, operation, fault):
    row = site.take()
    site.sandbox.fail(operation, **FAULTS[fault])
    if operation == "update" and fault == "timeout":
        site.sandbox.fail("retrieve", status=500, after=1)  # settling it by asking is in vain as well

    rename(page, row, "Renamed in vain")

    certain = operation == "retrieve" or fault != "timeout"
    expect_failure(page, "The name was not changed." if certain else "The conversation may have been renamed.")
    expect(page.get_by_label("Name")).to_have_value("Renamed in vain")
    assert_untouched(site, row, missing=fault == "404")


def test_conflict_shows_the_other_name_and_saving_again_replaces_it(site, page):
    row = site.take()
    page.goto(change(row))
    site.sandbox.rename(row["remote_id"], "Theirs")
    fill_name(page, "Ours")

    save(page)

    expect_failure(page, "name is " + quoted("Theirs"))
    expect(page.get_by_label("Name")).to_have_value("Ours")
    assert remote_name(site, row) == "Theirs"
    assert site.history(row) == []
    save(page)
    expect_success(page, "Ours")
    assert remote_name(site, row) == "Ours"


def test_page_that_the_user_goes_back_to_shows_the_name_that_others_gave_meanwhile(site, page, open_browser):
    row = site.take()
    page.goto(change(row))
    fill_name(page, "Ours")
    page.goto(CHANGES)
    other = open_browser(site)
    rename(other, row, "Theirs")
    expect_success(other, "Theirs")

    page.go_back()

    expect(page.get_by_label("Name")).to_have_value("Theirs")


@pytest.mark.parametrize("chosen", ["Keep", "Replace it with", "Enter"])
def test_conflict_is_resolved_without_scripts(site, open_browser, chosen):
    page = open_browser(site, java_script_enabled=False)
    row = site.take()
    page.goto(change(row))
    site.sandbox.rename(row["remote_id"], "Theirs")
    fill_name(page, "Ours")
    save(page)
    fill_name(page, "Typed since")

    if chosen == "Enter":
        page.get_by_label("Name").press("Enter")
    else:
        page.get_by_role("button", name=chosen).click()

    if chosen == "Keep":
        expect(page.get_by_label("Name")).to_have_value("Theirs")
        expect(page.locator(".errornote, .messagelist")).to_have_count(0)
    else:
        expect_success(page)
    assert remote_name(site, row) == {"Keep": "Theirs", "Enter": "Typed since"}.get(chosen, "Ours")


@each_fault
def test_failure_after_a_conflict_keeps_both_names(site, page, fault):
    row = site.take()
    page.goto(change(row))
    site.sandbox.rename(row["remote_id"], "Theirs")
    fill_name(page, "Ours")
    save(page)
    expect_failure(page, "name is " + quoted("Theirs"))
    seen = site.again(row)
    site.sandbox.fail("retrieve", **FAULTS[fault])

    save(page)

    expect_failure(page, "The name was not changed.")
    expect(page.get_by_label("Name")).to_have_value("Ours")
    assert_untouched(site, seen, missing=fault == "404")


def test_of_two_people_who_rename_the_same_one_the_second_is_asked(site, page, open_browser):
    row = site.take()
    other = open_browser(site)
    for each in (page, other):
        each.goto(change(row))
    fill_name(other, "The other's")
    save(other)
    expect_success(other, "The other's")

    fill_name(page, "Mine")
    save(page)

    expect_failure(page, "name is " + quoted("The other's"))
    expect(page.get_by_label("Name")).to_have_value("Mine")
    assert remote_name(site, row) == "The other's"


# Delete


def test_double_click_on_the_last_question_deletes_and_tells_one_outcome(site, page):
    row = site.take()
    page.goto(delete(row))

    click_twice(site, page, "Yes, I’m sure", "delete")

    # The browser shows the answer to one of the two requests.
    outcome = re.compile(r"deleted successfully|^Deleted\. Orq did not have it any more\.$")
    expect(page.locator(".messagelist li")).to_have_text([outcome])
    assert site.again(row)["deleted_at"] is not None


@pytest.mark.parametrize("fault", FAULTS.keys() - {"404"})
def test_failed_delete_changes_nothing_here(site, page, fault):
    row = site.take()
    site.sandbox.fail("delete", **FAULTS[fault])
    page.goto(delete(row))

    confirm(page)

    certain = fault != "timeout"
    expect_failure(page, "The conversation was not deleted." if certain else "may have been deleted.")
    expect(page.get_by_role("button", name="Yes, I’m sure")).to_be_visible()
    assert_untouched(site, row)


def test_delete_of_what_orq_no_longer_has_counts_as_done(site, page):
    row = site.take()
    site.sandbox.remove(row["remote_id"])
    page.goto(delete(row))

    confirm(page)

    expect(page.locator(".messagelist li")).to_have_text("Deleted. Orq did not have it any more.")
    assert site.again(row)["deleted_at"] is not None


# Names


@pytest.mark.parametrize("name", [AWKWARD, RIGHT_TO_LEFT], ids=["markup", "right to left"])
def test_names_show_as_themselves_everywhere(site, page, name):
    (row,) = site.conversations("display_name = ?", name)
    page.goto(LIST)
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_label("Name")).to_have_value(name)
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    save(page)
    expect_success(page, name)
    page.goto(delete(row))
    expect(page.get_by_role("main")).to_contain_text(name)
    page.goto(f"{change(row)}../history/")
    expect(page.get_by_role("main")).to_contain_text(name)
