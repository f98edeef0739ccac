"""Bulk operations done by a worker, with and without failures of Orq."""

import pytest

from .conftest import AWKWARD, FEW, MANY, RIGHT_TO_LEFT
from .pages import (
    FAULTS,
    LIST,
    choose_action,
    confirm,
    expect_failure,
    expect_success,
    middle_of,
    run_action,
    save,
    state,
)
from .playing import expect
from .site import held_requests

RENAME, DELETE = "Rename selected conversations", "Delete selected conversations"
REFRESH, CREATE_AGAIN = "Refresh selected conversations from Orq", "Create deleted conversations again"


@pytest.fixture
def many(site):
    return site.take_group(MANY)


@pytest.fixture
def few(site):
    return site.take_group(FEW)


def choose(page, action, rows, **filters):
    """Run an action on a whole group, found by the common word in its names."""
    choose_action(page, action, search=rows[0]["display_name"].split()[0], **filters)


def field(page, row):
    """The field for a conversation's new name."""
    return page.get_by_label(row["display_name"], exact=True)


def order_renames(page, rows):
    choose(page, RENAME, rows)
    for row in rows:
        field(page, row).fill(f"New {row['display_name']}")
    save(page)


def order_deletions(page, rows):
    choose(page, DELETE, rows)
    confirm(page)


def expect_outcome(page, words):
    """Wait until the page shows by itself that the operation is finished, and check its outcome."""
    expect(state(page)).to_have_text("finished")
    expect(page.locator("section.orq-standing")).to_contain_text(words)


def done(site):
    """The ids of the conversations that the newest operation reports as done."""
    operation = site.rows("django_orq_operation")[0]
    items = site.rows("django_orq_operationitem", "operation_id = ? AND state = 'done'", operation["id"])
    return {item["conversation_id"] for item in items}


def assert_as_told(site, rows, *, count, column, wanted):
    """``count`` of the rows are as requested, with a log entry; the others are unchanged."""
    ids = done(site)
    assert len(ids) == count
    for row in rows:
        now, is_done = site.again(row), row["id"] in ids
        assert wanted(now) == is_done
        assert is_done or now[column] == row[column]
        assert len(site.history(row)) == is_done


def is_renamed(row):
    return row["display_name"].startswith("New ")


def is_deleted(row):
    return row["deleted_at"] is not None


# Rename


def test_thirty_are_renamed_by_a_worker(site, page, many):
    order_renames(page, many)

    expect_success(page)
    expect_outcome(page, "30 of 30: 30 done")
    assert_as_told(site, many, count=30, column="display_name", wanted=is_renamed)
    renamed = {site.sandbox.get(row["remote_id"])["displayName"] for row in many}
    assert renamed == {f"New {row['display_name']}" for row in many}


@pytest.mark.parametrize(("fault", "count"), {"401": 10, "404": 29, "500": 29, "timeout": 10}.items())
def test_of_thirty_renames_those_that_fail_change_nothing_and_are_named(site, page, many, fault, count):
    site.sandbox.fail("retrieve", after=10, **FAULTS[fault])

    order_renames(page, many)

    expect_outcome(page, f"30 of 30: {count} done, {30 - count} failed")
    expect(page.get_by_role("cell", name="The name was not changed.")).to_have_count(30 - count)
    assert_as_told(site, many, count=count, column="display_name", wanted=is_renamed)


def test_of_thirty_renames_the_one_in_conflict_is_left_alone(site, page, many):
    choose(page, RENAME, many)
    site.sandbox.rename(many[7]["remote_id"], "Somebody else's")
    for row in many:
        field(page, row).fill(f"New {row['display_name']}")

    save(page)

    expect_outcome(page, "30 of 30: 29 done, 1 failed")
    expect(page.get_by_role("cell", name="Somebody else's")).to_be_visible()
    assert site.sandbox.get(many[7]["remote_id"])["displayName"] == "Somebody else's"
    assert site.history(many[7]) == []


@pytest.mark.parametrize("fault", ["500", "timeout"])
def test_failed_rename_of_a_single_one_keeps_the_text(site, page, few, fault):
    site.sandbox.fail("retrieve", **FAULTS[fault])
    choose(page, RENAME, few)
    field(page, few[0]).fill("Renamed in vain")

    save(page)

    expect_failure(page, "The name was not changed.")
    expect(field(page, few[0])).to_have_value("Renamed in vain")
    assert site.again(few[0]) == few[0]
    assert site.history(few[0]) == []


def test_bad_name_among_several_is_refused_beside_its_field(site, page, few):
    choose(page, RENAME, few)
    for row, name in zip(few, ("Good", "x" * 101, "Good too"), strict=True):
        field(page, row).fill(name)

    save(page)

    expect_failure(page, "100")
    expect(field(page, few[0])).to_have_value("Good")
    assert [site.again(row) for row in few] == few
    assert site.sandbox.count() == 0


def test_preview_proposes_names_without_scripts(site, few, open_browser):
    page = open_browser(site, java_script_enabled=False)
    page.goto(f"{LIST}?q={few[0]['display_name'].split()[0]}")
    run_action(page, RENAME, few)
    page.get_by_label("Find").fill(" 0")
    page.get_by_label("Replace with").fill(" no. ")
    page.get_by_label("Prefix").fill("EU: ")

    page.get_by_label("Prefix").press("Enter")

    names = [f"EU: {row['display_name'].replace(' 0', ' no. ')}" for row in few]
    assert [field(page, row).input_value() for row in few] == names
    expect(page.locator(".orq-mark")).to_have_count(FEW)
    assert site.sandbox.count() == 0
    field(page, few[0]).press("Enter")
    page.wait_for_url("**/operation/*/change/")


# Delete


def test_thirty_are_deleted_by_a_worker(site, page, many):
    choose(page, DELETE, many)
    expect(page.get_by_text("Do you want to delete these 30 conversations?")).to_be_visible()
    assert site.sandbox.count() == 0

    confirm(page)

    expect_outcome(page, "30 of 30: 30 done")
    assert_as_told(site, many, count=30, column="deleted_at", wanted=is_deleted)
    assert not any(site.sandbox.get(row["remote_id"]) for row in many)


@pytest.mark.parametrize(
    ("fault", "count", "told"),
    [
        ("401", 10, "10 done, 20 failed"),
        ("404", 30, "30 done"),  # gone is gone
        ("500", 29, "29 done, 1 failed"),
        ("timeout", 10, "10 done, 19 failed, 1 unknown"),
    ],
)
def test_of_thirty_deletions_those_that_fail_change_nothing_and_are_named(site, page, many, fault, count, told):
    site.sandbox.fail("delete", after=10, **FAULTS[fault])

    order_deletions(page, many)

    expect_outcome(page, f"30 of 30: {told}")
    assert_as_told(site, many, count=count, column="deleted_at", wanted=is_deleted)


def test_double_click_on_the_last_question_orders_once(site, page, few):
    before = len(site.rows("django_orq_operation"))
    choose(page, DELETE, few)
    middle = middle_of(page.get_by_role("button", name="Yes, I’m sure"))

    with held_requests(site.sandbox, "delete"):
        page.mouse.click(*middle)
        page.mouse.click(*middle)

    expect_outcome(page, "3 of 3: 3 done")
    assert len(site.rows("django_orq_operation")) == before + 1
    assert site.sandbox.count("delete") == 3


# Refresh


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_refresh_changes_no_value_and_is_told(site, page, few, fault):
    for row in few:
        site.sandbox.rename(row["remote_id"], "Renamed there")
    site.sandbox.fail("retrieve", times=None, **FAULTS[fault])

    choose(page, REFRESH, few)

    expect_outcome(page, "3 of 3: 3 failed")
    assert [site.again(row)["display_name"] for row in few] == [row["display_name"] for row in few]
    assert [site.again(row)["missing_since"] is not None for row in few] == [fault == "404"] * FEW
    assert not any(site.history(row) for row in few)


# Create again


@pytest.fixture
def few_deleted(site, page, few):
    order_deletions(page, few)
    expect_outcome(page, "3 of 3: 3 done")
    return few


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_creation_again_creates_nothing_here_and_is_told(site, page, few_deleted, fault):
    site.sandbox.fail("create", times=None, **FAULTS[fault])
    choose(page, CREATE_AGAIN, few_deleted, state="deleted")

    confirm(page)

    expect_outcome(page, "3 of 3: 3 unknown" if fault == "timeout" else "3 of 3: 3 failed")
    for row in few_deleted:
        assert site.conversations("display_name = ?", row["display_name"]) == [site.again(row)]


# Names


def test_names_show_as_themselves_on_the_pages_of_several(site, page):
    rows = [site.conversations("display_name = ?", name)[0] for name in (AWKWARD, RIGHT_TO_LEFT)]
    page.goto(LIST)
    run_action(page, RENAME, rows)
    for row in rows:
        expect(field(page, row)).to_have_value(row["display_name"])
    page.goto(LIST)
    run_action(page, DELETE, rows)
    for row in rows:
        expect(page.get_by_role("link", name=row["display_name"], exact=True)).to_be_visible()
    page.goto(LIST)
    run_action(page, REFRESH, rows)
    expect_outcome(page, "2 of 2: 2 done")
    for row in rows:
        expect(page.get_by_role("link", name=row["display_name"], exact=True)).to_be_visible()
