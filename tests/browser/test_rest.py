"""The pages of REST framework and Swagger UI under the example project's Content-Security-Policy."""

import re

from .playing import expect
from .site import LOGIN


def test_user_logs_in_to_the_browsable_api_deletes_a_conversation_and_logs_out(site, open_browser):
    row, page = site.take(), open_browser(site, storage_state=None)
    address = f"/orq/conversations/{row['remote_id']}/"
    page.goto(f"/api-auth/login/?next={address}")
    for label, text in zip(("Username:", "Password:"), LOGIN, strict=True):
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(re.compile(rf":\d+{address}"))  # with its scripts, which open the dialog

    page.get_by_role("button", name="DELETE", exact=True).click()
    page.locator("#deleteModal .btn-danger").click()

    expect(page.locator(".response-info")).to_contain_text("HTTP 204 No Content")
    page.goto(address)
    expect(page.locator(".response-info")).to_contain_text(re.compile('"state": "deleted"'))
    assert site.sandbox.get(row["remote_id"]) is None
    page.route("**/api-auth/logout/**", lambda route: route.abort("aborted"))  # every page behind it is a 403
    page.get_by_role("link", name=LOGIN[0]).click()
    with page.expect_request("**/api-auth/logout/**"):
        page.get_by_role("link", name="Log out").click()


def test_description_is_shown(page):
    page.goto("/schema/page/")

    page.get_by_text("List conversations").click()

    expect(page.get_by_text("updated_after").first).to_be_visible()
