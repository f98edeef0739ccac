"""Several conversations at once, worked off by a worker, with Orq well and with Orq in trouble."""

import uuid

import pytest

from .pages import FAULTS, choose_action, confirm, expect_failure, expect_success, state
from .playing import expect
from .site import held_requests

MANY, FEW = 30, 3
RENAME, DELETE = "Rename selected conversations", "Delete selected conversations"
REFRESH, CREATE_AGAIN = "Refresh selected conversations from Orq", "Create deleted conversations again"


@pytest.fixture
def word():
    """What the names of a test's conversations have in common, and no others."""
    return uuid.uuid4().hex[:8]


@pytest.fixture
def many(site, word):
    return site.mirror_new(*(f"{word} {number:02}" for number in range(MANY)))


@pytest.fixture
def few(site, word):
    return site.mirror_new(*(f"{word} {number}" for number in range(FEW)))


def order_renames(page, rows, *, search):
    choose_action(page, RENAME, search=search)
    for row in rows:
        page.get_by_label(row["display_name"], exact=True).fill(f"New {row['display_name']}")
    page.get_by_role("button", name="Save", exact=True).click()


def outcome(page):
    """Once it is finished."""
    expect(state(page)).to_have_text("finished")
    return page.locator("section.orq-standing")


def done(site):
    """The conversations that the newest operation says it has done, and those it says it has not."""
    (operation, *_) = site.rows("django_orq_operation")
    items = site.rows("django_orq_operationitem", "operation_id = ?", operation["id"])
    return [[item["conversation_id"] for item in items if (item["state"] == "done") == good] for good in (True, False)]


def assert_as_told(site, rows, *, count, column, wanted):
    """``count`` of the rows are as was wanted, and noted in the history; the others are as they were."""
    good, bad = done(site)
    assert (len(good), len(bad)) == (count, len(rows) - count)
    for row in rows:
        now, is_done = site.again(row), row["id"] in good
        assert bool(wanted(now)) == is_done
        assert is_done or now[column] == row[column]
        assert len(site.history(row)) == is_done


def is_renamed(row):
    return row["display_name"].startswith("New ")


# Rename


def test_thirty_are_renamed_by_a_worker(site, page, many, word):
    order_renames(page, many, search=word)

    expect_success(page)
    expect(outcome(page)).to_contain_text("30 of 30: 30 done")
    assert_as_told(site, many, count=30, column="display_name", wanted=is_renamed)
    assert {site.sandbox.get(row["remote_id"])["displayName"] for row in many} == {
        f"New {row['display_name']}" for row in many
    }


@pytest.mark.parametrize(("fault", "count"), {"401": 10, "404": 29, "500": 29, "timeout": 10}.items())
def test_of_thirty_renames_those_that_fail_change_nothing_and_are_named(site, page, many, word, fault, count):
    site.sandbox.fail("retrieve", after=10, **FAULTS[fault])

    order_renames(page, many, search=word)

    expect(outcome(page)).to_contain_text(f"30 of 30: {count} done, {30 - count} failed")
    expect(page.get_by_role("cell", name="The name was not changed.")).to_have_count(30 - count)
    assert_as_told(site, many, count=count, column="display_name", wanted=is_renamed)


def test_of_thirty_renames_the_one_in_conflict_is_left_alone(site, page, many, word):
    choose_action(page, RENAME, search=word)
    site.sandbox.rename(many[7]["remote_id"], "Somebody else's")
    for row in many:
        page.get_by_label(row["display_name"], exact=True).fill(f"New {row['display_name']}")

    page.get_by_role("button", name="Save", exact=True).click()

    expect(outcome(page)).to_contain_text("30 of 30: 29 done, 1 failed")
    expect(page.get_by_role("cell", name="Somebody else's")).to_be_visible()
    assert site.sandbox.get(many[7]["remote_id"])["displayName"] == "Somebody else's"


def test_only_names_that_were_changed_are_sent(site, page, few, word):
    order_renames(page, few[:2], search=word)

    expect(outcome(page)).to_contain_text("2 of 2: 2 done")
    assert site.sandbox.count("update") == 2
    assert site.again(few[2])["display_name"] == few[2]["display_name"]


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_rename_of_a_single_one_keeps_the_text(site, page, few, word, fault):
    site.sandbox.fail("retrieve", **FAULTS[fault])

    order_renames(page, few[:1], search=word)

    expect_failure(page, "The name was not changed.")
    expect(page.get_by_label(few[0]["display_name"], exact=True)).to_have_value(f"New {few[0]['display_name']}")
    assert site.again(few[0])["display_name"] == few[0]["display_name"]
    assert site.history(few[0]) == []


def test_bad_name_among_several_is_refused_beside_its_field(site, page, few, word):
    choose_action(page, RENAME, search=word)
    for row, name in zip(few, ("Good", "x" * 101, "Good too"), strict=True):
        page.get_by_label(row["display_name"], exact=True).fill(name)

    page.get_by_role("button", name="Save", exact=True).click()

    expect_failure(page, "100")
    expect(page.get_by_label(few[0]["display_name"], exact=True)).to_have_value("Good")
    assert [site.again(row)["display_name"] for row in few] == [row["display_name"] for row in few]
    assert site.sandbox.count() == 0


# Delete


def is_deleted(row):
    return row["deleted_at"] is not None


def order_deletions(page, word):
    choose_action(page, DELETE, search=word)
    confirm(page)


def test_thirty_are_deleted_by_a_worker(site, page, many, word):
    choose_action(page, DELETE, search=word)
    expect(page.get_by_text("Do you want to delete these 30 conversations?")).to_be_visible()
    assert site.sandbox.count("delete") == 0

    confirm(page)

    expect(outcome(page)).to_contain_text("30 of 30: 30 done")
    assert_as_told(site, many, count=30, column="deleted_at", wanted=is_deleted)
    assert not any(site.sandbox.get(row["remote_id"]) for row in many)


@pytest.mark.parametrize(
    ("fault", "count", "told"),
    [
        ("401", 10, "30 of 30: 10 done, 20 failed"),
        ("404", 30, "30 of 30: 30 done"),  # gone is gone
        ("500", 29, "30 of 30: 29 done, 1 failed"),
        ("timeout", 10, "30 of 30: 10 done, 19 failed, 1 unknown"),
    ],
)
def test_of_thirty_deletions_those_that_fail_change_nothing_and_are_named(site, page, many, word, fault, count, told):
    site.sandbox.fail("delete", after=10, **FAULTS[fault])

    order_deletions(page, word)

    expect(outcome(page)).to_contain_text(told)
    assert_as_told(site, many, count=count, column="deleted_at", wanted=is_deleted)


def test_double_click_on_the_last_question_orders_once(site, page, few, word):
    choose_action(page, DELETE, search=word)
    before = len(site.rows("django_orq_operation"))
    box = page.get_by_role("button", name="Yes, I’m sure").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    with held_requests(site.sandbox, "delete"):
        page.mouse.click(*middle)
        page.mouse.click(*middle)

    expect(outcome(page)).to_contain_text("3 of 3: 3 done")
    assert len(site.rows("django_orq_operation")) == before + 1
    assert site.sandbox.count("delete") == 3


def test_what_failed_can_be_tried_again(site, page, few, word):
    site.sandbox.fail("delete", **FAULTS["401"])
    order_deletions(page, word)
    expect(outcome(page)).to_contain_text("3 of 3: 3 failed")

    page.get_by_role("button", name="Try again what failed").click()

    expect(outcome(page)).to_contain_text("3 of 3: 3 done")
    assert all(is_deleted(site.again(row)) for row in few)


# Refresh


def test_refresh_takes_what_orq_has(site, page, few, word):
    for row in few:
        site.sandbox.rename(row["remote_id"], f"Renamed there {row['id']}")

    choose_action(page, REFRESH, search=word)

    expect(outcome(page)).to_contain_text("3 of 3: 3 done")
    assert [site.again(row)["display_name"] for row in few] == [f"Renamed there {row['id']}" for row in few]


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_refresh_changes_nothing_and_is_told(site, page, few, word, fault):
    for row in few:
        site.sandbox.rename(row["remote_id"], "Renamed there")
    site.sandbox.fail("retrieve", times=1 if fault == "timeout" else None, **FAULTS[fault])

    choose_action(page, REFRESH, search=word)

    expect(outcome(page)).to_contain_text("3 of 3: 3 failed")
    assert [site.again(row)["display_name"] for row in few] == [row["display_name"] for row in few]
    assert not any(site.history(row) for row in few)


# Create again


@pytest.fixture
def few_deleted(site, page, few, word):
    order_deletions(page, word)
    expect(outcome(page)).to_contain_text("3 of 3: 3 done")
    return few


def test_deleted_ones_are_created_again_as_new_ones(site, page, few_deleted, word):
    choose_action(page, CREATE_AGAIN, search=word, state="deleted")
    expect(page.get_by_text("Do you want to create 3 new conversations of the same names?")).to_be_visible()
    confirm(page)

    expect(outcome(page)).to_contain_text("3 of 3: 3 done")
    for row in few_deleted:
        (new,) = site.conversations("display_name = ? AND deleted_at IS NULL", row["display_name"])
        assert site.sandbox.get(new["remote_id"])["displayName"] == row["display_name"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [("401", "3 failed"), ("404", "3 failed"), ("500", "3 failed"), ("timeout", "2 failed, 1 unknown")],
)
def test_failed_creation_again_creates_nothing_here_and_is_told(site, page, few_deleted, word, fault, told):
    site.sandbox.fail("create", times=1 if fault == "timeout" else None, **FAULTS[fault])
    choose_action(page, CREATE_AGAIN, search=word, state="deleted")

    confirm(page)

    expect(outcome(page)).to_contain_text(f"3 of 3: {told}")
    assert site.conversations("display_name LIKE ? AND deleted_at IS NULL", f"{word}%") == []
