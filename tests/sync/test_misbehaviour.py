"""Each failure in the sandbox's tables leads to a state of the run and, if there is a problem, to a message for users.

None causes a loop or leaves a lock: the next run starts by itself.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import django_orq.testing
from django_orq.models import Conversation, SyncRun
from django_orq.sync.report import remarks
from django_orq.testing import OrqSandbox

from ..walking import configure, full_run, incremental_run, let_the_wait_pass, mirror_equals

pytestmark = pytest.mark.django_db

Misbehave = Callable[[OrqSandbox], Any]


def switch(name: str, value: Any) -> Misbehave:
    return lambda remote: setattr(remote, name, value)


def fault(**kinds: Any) -> Misbehave:
    return lambda remote: remote.fail("list", **kinds)


def hide_one(remote: OrqSandbox) -> None:
    remote.hidden = {remote.conversations[5]["_id"]}


MISBEHAVIOURS: dict[str, tuple[Misbehave, set[str]]] = {
    "api_key": (switch("api_key", "another"), {"failed"}),
    "latency": (switch("latency", 0.01), {"succeeded"}),
    "ignore_cursor": (switch("ignore_cursor", True), {"failed"}),
    "unknown_cursor": (switch("unknown_cursor", "empty"), {"succeeded"}),
    "hidden": (hide_one, {"partial", "succeeded"}),
    "transform_list": (switch("transform_list", lambda answer: {"nothing": "of it"}), {"waiting", "failed"}),
    "locked_out": (switch("locked_out", True), {"failed"}),
    "on_request": (switch("on_request", lambda operation, phase: None), {"succeeded"}),
    "status": (fault(status=500, body="<h1>oops</h1>"), {"waiting"}),
    'drop="before"': (fault(drop="before"), {"waiting"}),
    'drop="after"': (fault(drop="after"), {"waiting"}),
    'drop="reset"': (fault(drop="reset"), {"waiting"}),
    "raw": (fault(raw=b"\x00\x01rubbish"), {"waiting"}),
    "applied": (fault(status=502, applied=True), {"waiting"}),
    "cut": (fault(cut=True), {"waiting"}),
    "delay": (fault(delay=5.0), {"waiting"}),
    "drip": (fault(drip=0.5), {"waiting"}),
    "oversize": (fault(oversize=11_000_000), {"waiting"}),
    "chunked": (fault(chunked=True), {"succeeded"}),
}
SLOW = {"delay", "drip"}
"""Those that only a client with longer timeouts notices."""


def named_in(text: str) -> set[str]:
    """The names in the first column of its tables."""
    rows = re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)
    return {row if row.startswith("drop") else re.split(r"[=, ]", row)[0] for row in rows}


def test_every_switch_of_the_table_is_tried_here():
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()

    assert named_in(django_orq.testing.__doc__ or "") == set(MISBEHAVIOURS)
    assert named_in(page.partition("## Simulate faults")[2].partition("\n## ")[0]) == set(MISBEHAVIOURS)


@pytest.mark.parametrize("walk", [full_run, incremental_run])
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_misbehaviour_ends_in_a_state_and_a_message_and_the_next_run_is_well(remote, settings, name, walk):
    configure(settings, PAGE_SIZE=10)
    for number in range(25):
        remote.add(f"Ticket {number}")
    full_run()
    misbehave, states = MISBEHAVIOURS[name]
    misbehave(remote)
    if name in SLOW:
        configure(settings, READ_TIMEOUT=0.2)
    if walk is incremental_run:
        states = states | {"succeeded"}  # it may stop before it meets the trouble

    run = walk()

    assert run.state in states
    assert bool(remarks(run)) == (run.state != "succeeded")
    assert not SyncRun.objects.filter(lease_until__isnull=False).exists()
    be_well(remote)
    configure(settings, READ_TIMEOUT=30.0)
    let_the_wait_pass()
    remote.add("Afterwards")
    assert walk().state == SyncRun.State.SUCCEEDED
    assert Conversation.objects.filter(display_name="Afterwards").exists()
    assert full_run().state == SyncRun.State.SUCCEEDED
    assert mirror_equals(remote)


def be_well(remote: OrqSandbox) -> None:
    remote.clear_faults()
    remote.api_key = "sandbox-key"
    remote.latency = 0.0
    remote.ignore_cursor = remote.locked_out = False
    remote.hidden = set()
    remote.transform_list = remote.on_request = None
