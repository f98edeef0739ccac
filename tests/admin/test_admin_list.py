"""The list of conversations, and autocomplete fields of other models."""

import re
from datetime import datetime
from html import unescape
from itertools import chain
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_orq.admin import conversations, filters, lists, texts
from django_orq.models import Conversation, searching
from django_orq.payloads import created_at, first_id
from django_orq.store.reconcile import reconcile

from ..references.models import Reference
from ..values import answer, at, conversation, set_columns
from .test_admin import said, user_with

pytestmark = pytest.mark.django_db
NAMES = "admin:django_orq_conversation"
LIST = reverse(f"{NAMES}_changelist")
AUTOCOMPLETE = reverse("admin:autocomplete")
FIELD = {"app_label": "references", "model_name": "reference", "field_name": "conversation"}
EVERY_STATE = {
    "live": {},
    "unlisted": {"missing_since": at(0), "confirmed_at": at(1)},
    "missing": {"missing_since": at(0)},
    "deleted": {"missing_since": at(0), "confirmed_at": at(1), "deleted_at": at(2)},
}
AWKWARD_NAMES = {
    "markup": """<script>alert("1")</script> & 'Söhne' {{ x }} </bdi>""",
    "attribute": """" onmouseover="alert(1)" x='""",
    "right to left": "שלום \u202e(1) %s",
    "wide": "👩" * 100,
}
each_awkward_name = pytest.mark.parametrize("name", AWKWARD_NAMES.values(), ids=AWKWARD_NAMES)


def mirrored(*names: str, workspace: str = "default") -> list[Conversation]:
    """A row for each name, oldest first."""
    known = Conversation.objects.count()
    ids = [f"conv_01jj1hdhn7{number:016d}" for number in range(known, known + len(names))]
    items = [conversation(remote_id=one, display_name=name) for one, name in zip(ids, names, strict=True)]
    reconcile(answer(*items), workspace=workspace)
    return list(Conversation.objects.filter(remote_id__in=ids).order_by("remote_id"))


def names_listed(client: Client, **query: object) -> list[str]:
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return [row.display_name for row in response.context["cl"].result_list]


def text_of(response) -> str:
    return response.content.decode()


# Filters


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("live", "It exists in Orq."),
        ("unlisted", "list omits it"),
        ("missing", "deleted if it no longer exists"),
        ("deleted", "deleted in Orq, with its messages"),
    ],
)
def test_page_says_what_the_state_means(admin_client, state, words):
    (row,) = mirrored("Refund")
    set_columns(row, **EVERY_STATE[state])

    shown = text_of(admin_client.get(reverse(f"{NAMES}_change", args=[row.pk])))

    assert re.search(rf'<div class="readonly">{state}<div class="help">[^<]*{words}', shown)


def test_filters_of_state_and_workspace_narrow_each_other(two_workspaces, admin_client):
    mirrored("One")
    (_two, three) = mirrored("Two", "Three", workspace="sales")
    set_columns(three, deleted_at=at(0))

    assert names_listed(admin_client, workspace="sales") == ["Two"]
    assert names_listed(admin_client, workspace="sales", state="deleted") == ["Three"]
    assert names_listed(admin_client, workspace="default", state="any") == ["One"]


# Workspaces


def shown_as_links(text: str) -> dict[str, str]:
    """The switch: the URL for each workspace."""
    (nav,) = re.findall(r'<nav class="orq-panel orq-workspaces".*?</nav>', text, re.DOTALL)
    return {alias: unescape(url) for url, alias in re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', nav)}


def test_one_workspace_is_listed_at_a_time_and_a_link_leads_to_each_other_one(two_workspaces, admin_client):
    mirrored("One")
    mirrored("Two", "Three", workspace="sales")

    text = text_of(admin_client.get(LIST))
    links = shown_as_links(text)

    assert names_listed(admin_client) == ["One"]
    assert [*links] == ["default", "sales"]
    assert 'aria-current="page">default</a>' in text
    response = admin_client.get(LIST + links["sales"])
    assert [row.display_name for row in response.context["cl"].result_list] == ["Three", "Two"]
    assert 'aria-current="page">sales</a>' in text_of(response)


def test_switch_keeps_filters_and_search_and_starts_at_the_first_page(two_workspaces, admin_client):
    mirrored(*map(str, range(130)))
    query = {"q": "1", "state": "any", "created_since": "2026-01-01", "_popup": "1"}

    links = shown_as_links(text_of(admin_client.get(LIST, query)))

    assert dict(QueryDict(links["sales"][1:]).items()) == {**query, "workspace": "sales"}
    assert shown_as_links(text_of(admin_client.get(LIST, {"p": "2"})))["sales"] == "?workspace=sales"


def test_chosen_workspace_stays_chosen(two_workspaces, admin_client):
    mirrored(*map(str, range(130)), workspace="sales")
    mirrored(*map(str, range(130)))

    text = text_of(admin_client.get(LIST, {"workspace": "sales", "state": "live"}))

    assert '<input type="hidden" name="workspace" value="sales">' in text  # in the form of the search
    queries = [QueryDict(unescape(url)) for url in re.findall(r'href="\?([^"]*)"', text)]
    chosen = [query.get("workspace") for query in queries if query]
    assert chosen.count("default") == 1  # the link that leads there
    assert {*chosen} == {"default", "sales"}
    (row,) = admin_client.get(LIST, {"workspace": "sales", "q": "conv_"}).context["cl"].result_list[:1]
    (url,) = re.findall(rf'<a href="([^"]*/{row.pk}/change/[^"]*)"', text)
    saved = admin_client.post(unescape(url), {"display_name": "Other", "initial-display_name": row.display_name})
    assert saved.status_code == 200  # the page is incomplete
    assert QueryDict(QueryDict(url.partition("?")[2])["_changelist_filters"])["workspace"] == "sales"


def test_form_to_add_offers_the_workspace_of_the_list(two_workspaces, admin_client):
    text = text_of(admin_client.get(LIST, {"workspace": "sales"}))
    (add,) = re.findall(r'href="([^"]*/add/\?[^"]*)" class="addlink"', text)

    assert '<option value="sales" selected>' in text_of(admin_client.get(unescape(add)))
    assert '<option value="default" selected>' in text_of(admin_client.get(reverse(f"{NAMES}_add")))


def test_workspace_that_is_no_longer_configured_is_still_listed(admin_client, settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": "key"}}
    mirrored("One")
    assert 'class="orq-panel orq-workspaces"' not in text_of(admin_client.get(LIST))
    mirrored("Two", workspace="closed")

    assert [*shown_as_links(text_of(admin_client.get(LIST)))] == ["default", "closed"]
    assert names_listed(admin_client) == ["One"]
    assert names_listed(admin_client, workspace="closed") == ["Two"]
    assert names_listed(admin_client, workspace="closed", state="deleted") == []


@pytest.mark.parametrize(
    ("configured", "listed"), [(["b", "a"], "b"), (["b", "default"], "default"), ([], "mirrored")]
)
def test_default_or_the_first_workspace_is_listed_unless_one_is_chosen(admin_client, settings, configured, listed):
    settings.ORQ_WORKSPACES = {alias: {"API_KEY": "key"} for alias in configured}
    mirrored("One", workspace="mirrored")

    for query in ({}, {"workspace": "nonsense"}, {"workspace": ""}):
        assert admin_client.get(LIST, query).context["cl"].workspace == listed


def test_action_on_all_changes_the_chosen_workspace_only(two_workspaces, admin_client):
    mirrored(*map(str, range(3)))
    rows = mirrored("Two", "Three", workspace="sales")
    chosen = {"action": "delete_selected", "_selected_action": [rows[0].pk], "select_across": "1", "index": "0"}

    response = admin_client.post(f"{LIST}?workspace=sales", chosen)

    assert {row.display_name for row in response.context["conversations"]} == {"Two", "Three"}


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", {"0": "DE", "1": "", "6": "CDE", "29": "BCDE"}),
        ("Pacific/Auckland", {"0": "E", "1": "D", "6": "CDE", "29": "BCDE"}),
    ],
)
def test_filters_mean_days_of_the_current_time_zone(admin_client, monkeypatch, settings, zone, expected):
    settings.TIME_ZONE = zone
    now = datetime(2026, 3, 20, 15, tzinfo=ZoneInfo("UTC"))  # four o'clock on the next day in Auckland
    monkeypatch.setattr(timezone, "now", lambda: now)
    made = {"Z": "2025-03-10", "A": "2026-01-02", "B": "2026-03-02", "C": "2026-03-15", "D": "2026-03-20", "E": ""}
    for name, day in made.items():
        moment = datetime.fromisoformat(f"{day}T01:00+00:00") if day else datetime.fromisoformat("2026-03-20T14:00Z")
        reconcile(answer(conversation(remote_id=first_id(moment), display_name=name)), workspace="default")

        set_columns(Conversation.objects.get(display_name=name), remote_updated_at=moment)

    for filter_class in (filters.CreatedFilter, filters.UpdatedFilter):
        changelist = admin_client.get(LIST).context["cl"]
        (days,) = (spec for spec in changelist.filter_specs if isinstance(spec, filter_class))
        choices = dict(zip(("0", "1", "6", "29"), [*days.choices(changelist)][1:], strict=True))
        queries = {value: QueryDict(choice["query_string"][1:]).dict() for value, choice in choices.items()}
        listed = {value: "".join(reversed(names_listed(admin_client, **query))) for value, query in queries.items()}
        assert listed == expected
        chosen = admin_client.get(LIST, queries["29"]).context["cl"]
        (days,) = (spec for spec in chosen.filter_specs if isinstance(spec, filter_class))
        assert [choice["selected"] for choice in days.choices(chosen)] == [False] * 4 + [True]
    assert "".join(reversed(names_listed(admin_client))) == "ZABCDE"
    assert names_listed(admin_client, created_since="2026-03-02", created_until="2026-03-15") == ["C", "B"]
    settings.TIME_ZONE = "Asia/Tokyo"
    assert {"C", "B"} <= {*names_listed(admin_client, created_since="1970-01-01")}
    assert names_listed(admin_client, updated_since="2026-03-15", created_until="2026-03-16") == ["C"]


@pytest.mark.parametrize("moment", ["1970-01-01T00:00Z", "2026-03-01T12:00:00.123Z", "9999-12-30T00:00Z"])
def test_first_id_of_a_moment_is_created_then(moment):
    assert created_at(first_id(datetime.fromisoformat(moment))) == datetime.fromisoformat(moment)


# Order and pages


def test_only_times_can_be_sorted_by(admin_client):
    mirrored("b", "c", "a")

    text = text_of(admin_client.get(LIST))

    assert re.findall(r"column-(\w+)", text) != []
    assert set(re.findall(r'class="[^"]*sortable column-(\w+)', text)) == {"created", "updated"}
    ascending = admin_client.get(LIST).context["cl"].list_display.index("created")
    assert names_listed(admin_client, o=ascending) == ["b", "c", "a"]
    for column in range(1, 6):
        assert names_listed(admin_client, o=f"-{column}") == ["a", "c", "b"]


@pytest.fixture
def short_lists(monkeypatch):
    """At most 250 conversations in pages of 50."""
    monkeypatch.setattr(lists, "MAX_LISTED", 250)


def test_pages_hold_each_conversation_once(admin_client):
    mirrored(*map(str, range(130)))

    pages = [names_listed(admin_client, p=number) for number in (1, 2, 3)]

    assert [len(page) for page in pages] == [50, 50, 30]
    assert list(chain(*pages)) == [str(number) for number in reversed(range(130))]
    assert "130 conversations" in text_of(admin_client.get(LIST))
    assert "There are more" not in text_of(admin_client.get(LIST))


def test_all_are_shown_at_once_if_they_are_few(admin_client):
    mirrored(*map(str, range(150)))

    assert len(names_listed(admin_client, all="")) == 150


def test_list_longer_than_its_pages_says_so_and_claims_no_number(short_lists, admin_client):
    mirrored(*map(str, range(250)))
    full = text_of(admin_client.get(LIST))
    assert "There are more" not in full
    assert "250 conversations" in full
    mirrored(*map(str, range(10)))

    text = text_of(admin_client.get(LIST))

    assert "Only the first 250 are listed. Search or filter to see others." in text
    assert re.findall(r"(\d+) (?:results?|conversations?)\b", text) == ["250"]
    assert "Select all" not in text.replace("Select all objects on this page", "")
    assert len(names_listed(admin_client, p=5)) == 50
    assert admin_client.get(LIST, {"p": 6}).url == f"{LIST}?e=1"


# Search


def test_each_word_must_occur(admin_client):
    mirrored("Refund for order 1001", "Order 1001", "refund")

    assert names_listed(admin_client, q="1001 refund") == ["Refund for order 1001"]
    assert names_listed(admin_client, q='"order 1001"') == ["Order 1001", "Refund for order 1001"]


def test_quotation_marks_and_commas_alone_are_part_of_a_name(admin_client):
    mirrored("O'Connor", 'The "big" one', "Refund, paid", 'An empty name: ""')

    found = {term: names_listed(admin_client, q=term) for term in ("'", '"', '""', "' '", ",", '""\t""')}

    empty, big, connor = 'An empty name: ""', 'The "big" one', "O'Connor"
    assert found == {"'": [connor], '"': [empty, big], '""': [empty], "' '": [], ",": ["Refund, paid"], '""\t""': []}


def test_search_by_name_looks_through_the_newest_that_pass_the_filters(admin_client, monkeypatch):
    monkeypatch.setattr(searching, "MAX_SEARCHED", 2)
    _old, _one, _two, gone = mirrored("Refund, old", "Refund 1", "Refund 2", "Refund, deleted")
    set_columns(gone, deleted_at=at(0))

    for query in ({}, {"o": "2"}, {"o": "3"}, {"o": "-3"}):
        response = admin_client.get(LIST, {"q": "refund", **query})
        assert sorted(row.display_name for row in response.context["cl"].result_list) == ["Refund 1", "Refund 2"]
        assert "2 conversations were searched for this name, back to those created on" in text_of(response)
        (older,) = re.findall(r'<a href="([^"]*)">Search older ones', text_of(response))
        assert names_listed(admin_client, **QueryDict(unescape(older)[1:]).dict()) == ["Refund, old"]
    assert "were searched" not in text_of(admin_client.get(LIST))
    assert "were searched" not in text_of(admin_client.get(LIST, {"q": "refund", "state": "deleted"}))
    assert names_listed(admin_client, q="conv_01") == ["Refund, deleted", "Refund 2", "Refund 1", "Refund, old"]


def test_only_pages_and_orders_of_an_older_search_keep_where_it_begins(two_workspaces, admin_client, monkeypatch):
    monkeypatch.setattr(searching, "MAX_SEARCHED", 120)
    old = mirrored("Old invoice", *("Refund" for _number in range(119)))
    mirrored("Old refund", workspace="sales")
    mirrored(*("Invoice" for _number in range(120)))
    older = {"q": "refund", "before": old[-1].remote_id}

    shown = text_of(admin_client.get(LIST, older))

    links = set(re.findall(r'href="([^"]*before=[^"]*)"', shown))
    asked = [set(QueryDict(unescape(link).partition("?")[2])) - {"workspace", "q", "before"} for link in links]
    assert {name for names in asked for name in names} == {"p", "all", "o"}
    assert f"/csv/?before={old[-1].remote_id}&amp;q=refund" in shown
    assert 'name="before"' not in shown
    kept = [link for link in links if "?" in link and "p=2" in link]
    assert set(names_listed(admin_client, **QueryDict(unescape(kept[0])[1:]).dict())) == {"Refund"}


def test_id_finds_a_row_whatever_its_state(admin_client):
    live, gone = mirrored("Live", "Gone")
    set_columns(gone, deleted_at=at(0))

    for query in ({}, {"state": "live"}):
        assert names_listed(admin_client, q=gone.remote_id, **query) == ["Gone"]
    assert names_listed(admin_client, q=live.remote_id, state="deleted") == ["Live"]


def test_name_that_only_deleted_ones_have_leads_to_them(admin_client):
    (gone,) = mirrored("Refund")
    assert "Deleted conversations match" not in text_of(admin_client.get(LIST, {"q": "refund"}))
    set_columns(gone, deleted_at=at(0))

    text = text_of(admin_client.get(LIST, {"q": "refund"}))

    (link,) = re.findall(r'Deleted conversations match: <a href="([^"]*)">', text)
    assert names_listed(admin_client, **QueryDict(unescape(link)[1:]).dict()) == ["Refund"]
    assert "Deleted conversations match" not in text_of(admin_client.get(LIST, {"q": "invoice"}))
    elsewhere = text_of(admin_client.get(LIST, {"q": "refund", "created_since": "2026-01-01"}))
    (link,) = re.findall(r'Deleted conversations match: <a href="([^"]*)">', elsewhere)
    assert names_listed(admin_client, **QueryDict(unescape(link)[1:]).dict()) == ["Refund"]


def test_unknown_id_can_be_fetched(admin_client, remote):
    there = remote.add("Only in Orq")["_id"]
    text = text_of(admin_client.get(LIST, {"q": there.upper()}))
    (url,) = re.findall(r'formaction="([^"]*)">Fetch from Orq', text)
    wanted = dict(re.findall(r'name="(remote_id|workspace)" value="([^"]*)" form="orq-form"', text))

    response = admin_client.post(url, wanted)

    row = Conversation.objects.get(remote_id=there)
    assert response.url == reverse(f"{NAMES}_change", args=[row.pk])
    missing = admin_client.post(
        url, wanted | {"remote_id": there[:-1] + ("y" if there[-1] == "z" else "z")}, follow=True
    )
    assert "Orq has no conversation" in text_of(missing)
    assert "conversation id" not in text_of(admin_client.post(url, {"remote_id": "x", "workspace": "nowhere"}))
    assert admin_client.get(url).status_code == 405


def test_mirrored_id_that_another_filter_hides_is_not_called_unknown(admin_client):
    (row,) = mirrored("Old")

    text = text_of(admin_client.get(LIST, {"q": row.remote_id, "created_since": "2026-01-01"}))

    assert "not mirrored" not in text


def test_fetching_from_a_workspace_that_cannot_be_is_refused(admin_client, remote):
    posted = {"remote_id": remote.add("One")["_id"], "workspace": "\0"}

    assert "Ask the site's administrator" in said(admin_client.post(reverse(f"{NAMES}_fetch"), posted))[0]

    assert remote.count() == 0


def test_fetching_needs_the_permission_to_add(remote):
    client = user_with("view_conversation")
    there = remote.add("Only in Orq")["_id"]

    assert "Fetch from Orq" not in text_of(client.get(LIST, {"q": there}))
    assert client.post(reverse(f"{NAMES}_fetch"), {"remote_id": there, "workspace": "default"}).status_code == 403
    assert not Conversation.objects.exists()


def test_empty_mirror_offers_a_full_sync(admin_client):
    assert "No conversation is mirrored yet." in text_of(admin_client.get(LIST))
    mirrored("One")
    assert "No conversation is mirrored yet." not in text_of(admin_client.get(LIST, {"q": "nothing"}))


def test_order_of_updates(admin_client):
    rows = mirrored("b", "c", "a")
    for row, day in zip(rows, (2, 3, 1), strict=True):
        set_columns(row, remote_updated_at=f"2026-05-0{day}T00:00Z")

    assert names_listed(admin_client, o="3") == ["a", "b", "c"]
    assert names_listed(admin_client, o="-3") == ["c", "b", "a"]
    assert names_listed(admin_client, updated_since="2026-05-02", o="2") == ["c", "b"]
    for query in ({"state": "any"}, {"created_since": "2024-01-01"}):  # no index serves these
        assert names_listed(admin_client, o="3", **query) == ["a", "c", "b"]
        assert "sortable column-updated" not in text_of(admin_client.get(LIST, query))


def test_namesakes_can_be_told_apart(admin_client):
    one, two = mirrored("Refund", "Refund")

    found = complete(admin_client, "refund").json()["results"]

    assert [each["id"] for each in found] == [str(two.pk), str(one.pk)]
    assert len({each["text"] for each in found}) == 2
    assert all(each["text"].startswith(isolated("Refund")) for each in found)


# Invalid query strings


@pytest.mark.parametrize("model", ["conversation", "syncrun", "rejectedpayload"])
@pytest.mark.parametrize(
    "query",
    [
        *(
            "state=nonsense",
            "state=%00",
            "workspace=%00",
            "created_since=%00",
            "updated_until=nonsense",
            "before=%00",
            "resolved_at__isempty=%00",
            "state=live&state=missing",
        ),
        *("q=%00", "q=%ED%A0%80", "p=999999", "p=-1", "p=x", "o=99", "o=-99.x.1.%00", "all=1&p=7"),
        *("id=" + "9" * 40, "id=x", "workspace__year=1", "e=1"),
    ],
)
def test_nonsense_is_never_a_server_error(admin_client, model, query):
    mirrored("One")

    response = admin_client.get(f"{reverse(f'admin:django_orq_{model}_changelist')}?{query}")

    assert response.status_code in (200, 302)
    assert response.status_code == 200 or response.url.endswith("?e=1")


@pytest.mark.parametrize(("parameter", "all_of_them"), [("state", "All except deleted"), ("created_since", "Any day")])
def test_unknown_choice_lists_what_no_choice_lists(admin_client, parameter, all_of_them):
    mirrored("One")

    assert names_listed(admin_client, **{parameter: "nonsense"}) == ["One"]
    changelist = admin_client.get(LIST, {parameter: "nonsense"}).context["cl"]
    (asked,) = (spec for spec in changelist.filter_specs if getattr(spec, "parameter_name", None) == parameter)
    assert [choice["display"] for choice in asked.choices(changelist) if choice["selected"]] == [all_of_them]


# Fields of other models


def names_offered(client: Client, term: str) -> list[str]:
    """Without what tells namesakes apart."""
    return [one["text"].partition("\u2069")[0].strip("\u2068") for one in complete(client, term).json()["results"]]


def told(row: Conversation) -> str:
    return f"{isolated(str(row))} ({texts.local(row.remote_created_at)}, …{row.remote_id[-4:]})"


def complete(client: Client, term: str, **query: object):
    return client.get(AUTOCOMPLETE, {**FIELD, "term": term, **query})


def test_field_of_another_model_completes_names_and_ids(admin_client):
    rows = mirrored("Refund 1", "Invoice", "Refund 2")

    found = {term: complete(admin_client, term).json()["results"] for term in ("refund", rows[1].remote_id, "")}

    assert found["refund"] == [{"id": str(row.pk), "text": told(row)} for row in (rows[2], rows[0])]
    assert [one["text"] for one in found[rows[1].remote_id]] == [told(rows[1])]
    assert len(found[""]) == 3


def test_completion_goes_on_page_by_page(short_lists, admin_client):
    mirrored(*map(str, range(45)))

    pages = [complete(admin_client, "", page=number).json() for number in (1, 2, 3)]

    assert [len(page["results"]) for page in pages] == [20, 20, 5]
    assert [page["pagination"]["more"] for page in pages] == [True, True, False]


def test_completion_offers_and_searches_each_workspace(admin_client, monkeypatch):
    mirrored("Refund 1", "Invoice")
    mirrored("Refund 2", workspace="closed")
    mirrored("Refund 3")

    for term, found in {"refund": "321", "": "32e1", "conv_01": "32e1"}.items():
        assert (
            "".join(one["text"].split("\u2069")[0][-1] for one in complete(admin_client, term).json()["results"])
            == found
        )
    monkeypatch.setattr(conversations, "MAX_OFFERED", 1)
    assert names_offered(admin_client, "") == ["Refund 3", "Refund 2"]


def test_completion_by_name_reads_no_more_in_several_workspaces_than_in_one(admin_client, monkeypatch):
    monkeypatch.setattr(searching, "MAX_SEARCHED", 4)
    for workspace in ("default", "sales"):
        mirrored("Refund, old", "Refund 1", "Refund 2", workspace=workspace)

    assert names_offered(admin_client, "refund") == ["Refund 2", "Refund 1"] * 2


def test_deleted_conversations_are_not_offered_for_new_references(admin_client):
    for row, columns in zip(mirrored(*EVERY_STATE), EVERY_STATE.values(), strict=True):
        set_columns(row, **columns)

    for term in ("", "e", "conv_"):
        assert "deleted" not in [one["text"] for one in complete(admin_client, term).json()["results"]]
    assert len(complete(admin_client, "").json()["results"]) == 3


def test_reference_to_a_deleted_conversation_is_still_shown_and_kept(admin_client):
    (row,) = mirrored("Refund")
    reference = Reference.objects.create(conversation=set_columns(row, deleted_at=at(0)))
    url = reverse("admin:references_reference_change", args=[reference.pk])

    assert f'<option value="{row.pk}" selected>Refund</option>' in text_of(admin_client.get(url))
    assert admin_client.post(url, {"conversation": row.pk}).status_code == 302
    reference.refresh_from_db()
    assert reference.conversation == row


def test_completion_needs_the_permission_to_see_conversations(client):
    mirrored("Refund")

    assert complete(client, "").status_code == 302
    assert complete(user_with("change_reference"), "").status_code == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [({"page": "999999"}, 404), ({"field_name": "\0"}, 403)],
)
def test_nonsense_asked_of_a_completion_is_never_a_server_error(admin_client, query, status):
    mirrored("Refund")

    assert complete(admin_client, **{"term": "", **query}).status_code == status


# Names


@each_awkward_name
def test_awkward_name_is_itself_everywhere(admin_client, name):
    (row,) = mirrored(name)
    reference = Reference.objects.create(conversation=row)
    change, delete = (reverse(f"{NAMES}_{page}", args=[row.pk]) for page in ("change", "delete"))
    several = {"action": "delete_selected", "_selected_action": [row.pk], "index": "0"}

    assert_shown(admin_client.get(LIST), name, around="<bdi>{}</bdi>")
    assert_shown(admin_client.get(change), name, around='value="{}"')
    several["action"] = "rename_selected"
    assert_shown(admin_client.post(LIST, several), name, around="<bdi>{}</bdi></label>")
    assert_shown(
        admin_client.get(reverse(f"{NAMES}_history", args=[row.pk])), name, around="<h1>Change history: {}</h1>"
    )
    several["action"] = "delete_selected"
    viewer = user_with("view_conversation")
    assert_shown(viewer.get(change), name, around='<div class="readonly">{}</div>')
    assert_shown(admin_client.get(delete), name, around="“<bdi>{}</bdi>”")
    for response in (admin_client.get(delete), admin_client.post(LIST, several)):
        assert_shown(response, name, around="<bdi>{}</bdi></a>")
    assert complete(admin_client, "").json()["results"] == [{"id": str(row.pk), "text": told(row)}]
    referring = admin_client.get(reverse("admin:references_reference_change", args=[reference.pk]))
    assert_shown(referring, name, around=" selected>{}</option>")


def assert_shown(response, name: str, *, around: str) -> None:
    before, after = around.split("{}")
    found = re.findall(f"{re.escape(before)}([^<>]*?){re.escape(after)}", text_of(response))
    assert name in [unescape(one) for one in found]
    assert "<script>alert" not in text_of(response)


def isolated(name: str) -> str:
    return f"\u2068{name}\u2069"


RIGHT_TO_LEFT = AWKWARD_NAMES["right to left"]


def test_titles_and_breadcrumbs_isolate_a_name(admin_client):
    (row,) = mirrored(RIGHT_TO_LEFT)
    change, delete = (
        text_of(admin_client.get(reverse(f"{NAMES}_{page}", args=[row.pk]))) for page in ("change", "delete")
    )
    name = isolated(RIGHT_TO_LEFT)

    assert re.search(r'<input [^>]*dir="auto"', change)
    assert f"<title>{name} | Change conversation" in change
    assert f"<h2>{name}</h2>" in change
    assert re.search(rf'(?:&rsaquo; |<li aria-current="page">){re.escape(name)}', change)
    assert re.search(rf'<a href="[^"]*/{row.pk}/change/">{re.escape(name)}</a>', delete)


def test_isolated_name_can_not_leave_its_isolation():
    assert texts.isolated("\u2069\u2069Refund\u2067") == isolated("Refund")


@pytest.mark.parametrize("name", ["", " ", "\u3000\u200b\u2003"])
def test_name_of_blanks_leaves_something_to_read_and_to_click_on(admin_client, name):
    (row,) = mirrored(name)
    change, delete = (reverse(f"{NAMES}_{page}", args=[row.pk]) for page in ("change", "delete"))

    assert re.search(rf'<a href="{change}[^"]*">\(no name\)</a>', text_of(admin_client.get(LIST)))
    assert row.remote_id in text_of(admin_client.get(change))
    assert f"<bdi>{row.remote_id}</bdi></a>" in text_of(admin_client.get(delete))
    assert complete(admin_client, "").json()["results"][0]["text"].startswith(f"{isolated(row.remote_id)} (")
