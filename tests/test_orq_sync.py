import io
import os
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from django_orq import runs
from django_orq.management.progress import Progress
from django_orq.models import SyncRun
from django_orq.testing import OrqSandbox

from .walking import configure, mirror_equals

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def orq_sync(*arguments: str, stdout: io.StringIO | None = None) -> str:
    stdout = stdout or io.StringIO()
    call_command("orq_sync", *arguments, stdout=stdout, no_color=True)
    return stdout.getvalue()


def fill(remote: OrqSandbox, count: int) -> None:
    for number in range(count):
        remote.add(f"Ticket {number}")


def test_full_run_mirrors_everything_and_sums_up(remote):
    fill(remote, 250)

    output = orq_sync("--full")

    assert mirror_equals(remote)
    assert (
        "succeeded: 250 conversations in 3 pages and 3 requests; 250 new, 0 updated, 0 unchanged, "
        "0 skipped as older, 0 rejected."
    ) in output


def test_without_full_it_says_what_to_write(remote):
    with pytest.raises(CommandError, match="orq_sync --full") as refusal:
        orq_sync()

    assert refusal.value.returncode == 2
    assert not SyncRun.objects.exists()


def test_terminal_shows_a_bar_that_fills(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 40)

    first = orq_sync("--full", stdout=Terminal())
    second = orq_sync("--full", stdout=Terminal())

    assert "[.#......................] 10 conversations, 1 page, 0 s" in first
    assert "[######..................] 10 conversations, 1 page, 0 s" in second
    assert "[########################] 40 conversations, 4 pages, 0 s" in second


def test_plain_lines_come_every_few_seconds_elsewhere(monkeypatch):
    moments = iter([0, 1, 6, 6, 6, 7])
    monkeypatch.setattr("django_orq.management.progress.time.monotonic", lambda: next(moments))
    stream = io.StringIO()
    progress = Progress(stream, expected=0)

    progress.show(SyncRun(seen=100, pages=1))
    progress.show(SyncRun(seen=200, pages=2))
    progress.show(SyncRun(seen=300, pages=3))
    progress.close()

    assert stream.getvalue().split("\n")[0].startswith("200 conversations, 2 pages, 6 s")
    assert "300" not in stream.getvalue()


def test_partial_run_says_why_and_exits_with_3(remote, capsys):
    fill(remote, 2)
    remote.transform_list = lambda answer: answer | {"data": [*answer["data"], "junk"]}

    with pytest.raises(SystemExit) as exit_:
        call_command("orq_sync", "--full")

    assert exit_.value.code == 3
    assert "1 payload" in capsys.readouterr().err


def test_outdated_values_are_named_as_a_reason(remote, capsys):
    id_ = remote.add("Old")["_id"]
    old = remote.get(id_)
    remote.rename(id_, "New")
    orq_sync("--full")
    remote.transform_list = lambda answer: answer | {"data": [old]}

    with pytest.raises(SystemExit):
        call_command("orq_sync", "--full")

    assert "older values" in capsys.readouterr().err


def test_failed_run_says_why_and_exits_with_1(remote):
    remote.fail("list", status=401)

    with pytest.raises(CommandError, match="API_KEY") as failure:
        orq_sync("--full")

    assert failure.value.returncode == 1


@pytest.mark.parametrize("workspaces", [{}, {"default": {"API_KEY": ""}}], ids=["none", "no key"])
def test_wrong_configuration_is_a_plain_message(settings, workspaces):
    settings.ORQ_WORKSPACES = workspaces

    with pytest.raises(CommandError, match="API_KEY"):
        orq_sync("--full")


def test_another_walker_is_named_and_exits_with_5(remote):
    run = runs.open_run("default", "full")
    until = datetime.now(UTC) + timedelta(seconds=60)
    SyncRun.objects.update(state="running", token="another", lease_until=until)

    with pytest.raises(CommandError, match=f"sync run {run.pk}.*until {until:%H:%M}") as refusal:
        orq_sync("--full")

    assert refusal.value.returncode == 5


def test_ctrl_c_leaves_a_run_that_the_next_call_goes_on_with(remote, settings, monkeypatch):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 35)
    show = Progress.show

    def interrupt(self: Progress, run: SyncRun) -> None:
        show(self, run)
        if run.pages == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "show", interrupt)
        with pytest.raises(CommandError, match="goes on from the last page") as interruption:
            orq_sync("--full")

    output = orq_sync("--full")

    assert interruption.value.returncode == 4
    assert "after 2 pages" in output
    assert remote.count("list") == 4
    assert mirror_equals(remote)


def test_long_walk_goes_on_over_many_slices(remote, settings):
    configure(settings, PAGE_SIZE=10, SLICE_SECONDS=0.000_001)
    fill(remote, 35)

    assert "35 conversations in 4 pages" in orq_sync("--full")


def test_environment_has_no_key_of_its_own():
    """The tests would otherwise depend on the machine they run on."""
    assert "ORQ_API_KEY" not in os.environ
