import io
import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import OutputWrapper
from django.db import connection

from django_orq.management.commands.orq_sync import Progress
from django_orq.models import Conversation, SyncRun
from django_orq.sync import runs

from ..ordering import raising
from ..triggers import execute
from ..walking import configure, fill, full_run, let_the_wait_pass, mirror_equals

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def orq_sync(*arguments: str, stdout: io.StringIO | None = None) -> str:
    stdout = stdout or io.StringIO()
    call_command("orq_sync", *arguments, stdout=stdout, no_color=True)
    return stdout.getvalue()


def test_full_run_mirrors_everything_and_sums_up(remote):
    fill(remote, 250)

    output = orq_sync("--full")

    assert mirror_equals(remote)
    assert (
        "completed: 250 conversations, 3 pages, 3 requests; 250 created, 0 updated, 0 unchanged, "
        "0 deleted, 0 restored, 0 rejected."
    ) in output


def test_incremental_is_the_default(remote):
    fill(remote, 250)
    orq_sync("--full")
    fill(remote, 1)

    assert "100 conversations, 1 page, 1 request; 1 created" in orq_sync()


def test_terminal_shows_a_bar_that_fills(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 40)

    first = orq_sync("--full", stdout=Terminal())
    second = orq_sync("--full", stdout=Terminal())

    assert "[........................] 10 conversations, 1 page, 0 s" in first
    assert "[######..................] 10 conversations, 1 page, 0 s" in second
    assert "[########################] 40 conversations, 4 pages, 0 s" in second


def test_plain_lines_come_every_few_seconds_elsewhere(monkeypatch):
    moments = iter([0, 1, 6, 6, 6, 7])
    monkeypatch.setattr("django_orq.management.commands.orq_sync.time.monotonic", lambda: next(moments))
    stream = io.StringIO()
    progress = Progress(OutputWrapper(stream))

    progress.show(SyncRun(seen=100, pages=1))
    progress.show(SyncRun(seen=200, pages=2))
    progress.show(SyncRun(seen=300, pages=3))
    progress.close()

    assert stream.getvalue().split("\n")[0].startswith("200 conversations, 2 pages, 6 s")
    assert "300" not in stream.getvalue()


@pytest.mark.parametrize(("is_old", "reason"), [(False, "1 item from Orq was rejected"), (True, "out of date")])
def test_partial_run_says_why_and_exits_with_3(remote, capsys, is_old, reason):
    (id_,) = fill(remote, 1)
    old = remote.get(id_)
    remote.rename(id_, "New")
    orq_sync("--full")
    remote.transform_list = lambda answer: answer | {"data": [old] if is_old else [*answer["data"], "junk"]}

    assert exit_code("--full") == 3
    assert reason in capsys.readouterr().err


def test_failed_run_says_why_and_exits_with_1(remote):
    remote.fail("list", status=401)

    with pytest.raises(CommandError, match="API_KEY") as failure:
        orq_sync("--full")

    assert failure.value.returncode == 1


@pytest.mark.parametrize("workspaces", [{}, {"other": {"API_KEY": "x"}}], ids=["none", "another"])
def test_wrong_workspace_is_a_plain_message_and_exits_with_2(settings, workspaces):
    settings.ORQ_WORKSPACES = workspaces

    with pytest.raises(CommandError, match="ORQ_WORKSPACES") as refusal:
        orq_sync("--full")

    assert refusal.value.returncode == 2


def test_missing_key_is_a_plain_message(settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": ""}}

    with pytest.raises(CommandError, match="API_KEY"):
        orq_sync("--full")


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        call_command("orq_sync", *arguments)
    return int(exit_.value.code)


def test_another_walker_is_named_and_exits_with_5(remote, capsys):
    run = runs.open_run("default", "full")
    until = datetime.now(UTC) + timedelta(seconds=60)
    SyncRun.objects.update(state="running", token="x", worker="process 4711 on worker-1", lease_until=until)

    assert exit_code("--full") == 5

    error = capsys.readouterr().err
    assert "process 4711 on worker-1" in error
    assert f"after {until:%H:%M:%S} UTC" in error
    assert SyncRun.objects.get() == run


def test_ctrl_c_pauses_the_run_and_the_next_call_goes_on_with_it(remote, four_pages, monkeypatch):
    show = Progress.show

    def interrupt(self: Progress, run: SyncRun) -> None:
        show(self, run)
        if run.pages == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "show", interrupt)
        with pytest.raises(CommandError, match="resumes it at its last checkpoint") as interruption:
            orq_sync("--full")
    assert SyncRun.objects.get().state == SyncRun.State.PAUSED

    output = orq_sync("--full")

    assert interruption.value.returncode == 4
    assert "Pages already read: 2." in output
    assert remote.count("list") <= 4 + 1  # one may have been under way
    assert mirror_equals(remote)


def test_process_that_was_suspended_until_it_lost_the_run_takes_it_again(remote, four_pages, monkeypatch):
    show = Progress.show

    def suspend(self: Progress, run: SyncRun) -> None:
        show(self, run)
        if run.pages == 2:
            SyncRun.objects.update(lease_until=datetime.now(UTC) - timedelta(seconds=3))

    monkeypatch.setattr(Progress, "show", suspend)

    assert "completed" in orq_sync("--full")
    assert SyncRun.objects.get().state == "succeeded"
    assert mirror_equals(remote)


@pytest.mark.parametrize("arguments", [["orq_sync", "--full"], ["orq_sync", "--all"], ["orq_doctor"], ["orq_health"]])
def test_output_that_is_closed_changes_nothing_else(remote, four_pages, monkeypatch, arguments):
    """As after ``| head``, and as with a full disk."""
    monkeypatch.setattr("django_orq.management.commands.orq_sync._SECONDS_BETWEEN_LINES", 0)
    name, *options = arguments
    if name == "orq_health":
        full_run()
    read, written = os.pipe()
    os.close(read)
    command = load_command_class("django_orq", name)
    with os.fdopen(written, "w") as output:
        command.stdout = OutputWrapper(output)

        call_command(command, *options)

    assert list(SyncRun.objects.values_list("state", flat=True)) == ["succeeded"] * (name != "orq_doctor")
    assert name == "orq_doctor" or mirror_equals(remote)


def test_characters_that_the_output_does_not_have_are_escaped(remote, monkeypatch):
    remote.add("退款")
    output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    command = load_command_class("django_orq", "orq_sync")
    command.stdout = OutputWrapper(output)

    with pytest.raises(SystemExit) as exit_:
        call_command(command, "--full", "--dry-run")

    assert exit_.value.code == 6
    assert "\\u9000\\u6b3e" in output.buffer.getvalue().decode("latin-1")


def test_waiting_run_says_until_when_and_exits_with_4(remote, capsys):
    remote.fail("list", status=503, headers={"Retry-After": "90"})

    assert exit_code("--full") == 4

    error = capsys.readouterr().err
    assert "The run can resume after" in error
    assert "Orq asked us to wait" in error
    assert "503" in error


@pytest.mark.parametrize("fault", [{"status": 503, "headers": {"Retry-After": "90"}}, {"drop": "before"}], ids=str)
def test_waiting_run_goes_on_with_the_next_call_once_its_time_has_come(remote, fault):
    """Cron needs no Celery."""
    fill(remote, 3)
    remote.fail("list", **fault)
    assert exit_code("--full") == 4
    let_the_wait_pass()

    assert "completed: 3 conversations" in orq_sync("--full")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-seconds", "0"),
        ("--max-seconds", "nan"),
        ("--max-seconds", "1e300"),
        ("--resume", "1", "--full"),
        ("--approve", "1", "--workspace", "default"),
        ("--approve", "1", "--all"),
        ("--dry-run",),
        ("--dry-run", "--full", "--max-seconds", "5"),
        ("--dry-run", "--full", "--max-seconds", "0"),
    ],
    ids=" ".join,
)
def test_nonsense_is_wrong_usage(remote, arguments):
    with pytest.raises(CommandError) as refusal:
        orq_sync(*arguments)

    assert refusal.value.returncode == 2
    assert not SyncRun.objects.exists()


def test_doubted_run_says_how_to_approve_it(remote):
    fill(remote, 3)
    orq_sync("--full")
    remote.locked_out = True
    with pytest.raises(CommandError, match="orq_sync --approve"):
        orq_sync("--full")
    doubted = SyncRun.objects.latest("pk")

    assert exit_code("--approve", str(doubted.pk), "--by", "Ada") == 3
    doubted.refresh_from_db()
    assert (doubted.needs_approval, doubted.approvals[0]["by"]) == ("mass_delete", "Ada")


@pytest.fixture
def left(four_pages) -> None:
    """A full run that has read one page and used up its budget."""
    exit_code("--full", "--max-seconds", "0.000001")


def test_budget_leaves_the_rest_to_the_next_call(remote, four_pages, capsys):
    assert exit_code("--full", "--max-seconds", "0.000001") == 4
    assert "budget" in capsys.readouterr().err
    assert "Pages already read: 1." in orq_sync("--full", "--max-seconds", "60")
    assert mirror_equals(remote)


def test_fresh_cancels_the_unfinished_run_and_starts_at_the_head(remote, left):
    assert "35 conversations, 4 pages" in orq_sync("--full", "--fresh")
    assert list(SyncRun.objects.order_by("pk").values_list("state", flat=True)) == ["cancelled", "succeeded"]


def test_fresh_with_a_budget_that_makes_no_sense_leaves_the_unfinished_run_as_it_is(remote, left):
    with pytest.raises(CommandError, match="max_seconds"):
        orq_sync("--full", "--fresh", "--max-seconds", "0")

    assert SyncRun.objects.get().pages == 1
    assert not SyncRun.objects.get().is_finished


def test_fresh_in_a_workspace_that_is_configured_no_more_leaves_the_unfinished_run_as_it_is(remote, left, settings):
    settings.ORQ_WORKSPACES = {"research": settings.ORQ_WORKSPACES["default"]}

    with pytest.raises(CommandError, match="no Orq workspace 'default'") as refusal:
        orq_sync("--full", "--fresh")

    assert refusal.value.returncode == 2
    assert not SyncRun.objects.get().is_finished


def test_nothing_but_remarks_is_said_where_none_of_it_is_wanted(remote, four_pages, capsys):
    assert exit_code("--full", "--verbosity=0", "--max-seconds", "0.000001") == 4
    said = capsys.readouterr()
    assert (said.out, "budget" in said.err) == ("", True)
    assert orq_sync("--full", "--verbosity=0") == ""


def test_resume_goes_on_with_a_run_whose_budget_is_spent(remote, left):
    assert "35 conversations, 4 pages" in orq_sync("--resume", str(SyncRun.objects.get().pk))
    assert mirror_equals(remote)


@pytest.fixture
def held(remote, settings) -> SyncRun:
    """A run that was stopped for review."""
    configure(settings, MASS_DELETE_MIN=0, MASS_DELETE_SHARE=0)
    fill(remote, 3)
    orq_sync("--full")
    remote.remove(remote.conversations[0]["_id"])
    assert exit_code("--full") == 3
    return SyncRun.objects.latest("pk")


def test_approval_needs_a_name_where_the_login_has_none(held, monkeypatch):
    monkeypatch.setattr("getpass.getuser", raising(KeyError))

    with pytest.raises(CommandError, match="Use --by"):
        orq_sync("--approve", str(held.pk))
    orq_sync("--approve", str(held.pk), "--by", "anna")

    held.refresh_from_db()
    assert held.approvals[0]["by"] == "anna"


def test_run_stopped_for_review_says_how_to_approve_it(capsys, held):
    assert f"orq_sync --approve {held.pk}" in capsys.readouterr().err

    SyncRun.objects.update(budget_until=held.started_at)
    assert "1 deleted" in orq_sync("--approve", str(held.pk), "--by", "J\udcfcrgen", "--max-seconds", "99")
    held.refresh_from_db()
    assert (held.approvals[0]["by"], held.budget_until > held.finished_at) == ("J?rgen", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "1000000000"), "no sync run 1000000000"),
        (("--resume", "finished"), "cannot be resumed"),
        (("--approve", "finished"), "does not need approval"),
        (("--approve", "finished", "--max-seconds", "-1"), "max_seconds must be a number above 0"),
    ],
)
def test_run_that_cannot_go_on_is_wrong_usage(remote, arguments, message):
    orq_sync("--full")
    option, run, *more = arguments

    with pytest.raises(CommandError, match=message) as refusal:
        orq_sync(option, str(SyncRun.objects.get().pk) if run == "finished" else run, *more)

    assert refusal.value.returncode == 2


def test_confirming_is_shown(remote, capsys):
    fill(remote, 3)
    orq_sync("--full")
    remote.remove(remote.conversations[0]["_id"])

    assert "1 looked up by id" in orq_sync("--full", stdout=Terminal())


def test_long_walk_goes_on_over_many_slices(remote, four_pages, settings):
    configure(settings, SLICE_SECONDS=0.000_001)

    assert "35 conversations, 4 pages" in orq_sync("--full")


class TestDryRun:
    def test_differences_are_shown_and_exit_with_6(self, remote, capsys):
        fill(remote, 3)
        orq_sync("--full")
        remote.rename(remote.conversations[0]["_id"], "Renamed")
        for number in range(22):
            remote.add(f"New {number}")

        assert exit_code("--full", "--dry-run") == 6

        output = capsys.readouterr().out
        assert "25 conversations, 1 page. Nothing was written." in output
        first_names = r"  New 21\n(  New \d+\n){19}  …\n"
        assert re.search(rf"To create: 22\n{first_names}To rename: 1\n  Ticket 2 → Renamed\n", output)
        assert (Conversation.objects.count(), SyncRun.objects.count()) == (3, 1)

    @pytest.mark.parametrize(("limit", "says_so"), [(2, True), (3, False)])
    def test_review_that_the_run_would_stop_for_is_said(self, remote, settings, limit, says_so, capsys):
        configure(settings, MASS_DELETE_MIN=limit)
        ids = fill(remote, 5)
        orq_sync("--full")
        for remote_id in ids[:3]:
            remote.remove(remote_id)

        exit_code("--full", "--dry-run")

        stops = f"If more than {limit} are missing, the run stops for review before it looks them up."
        assert (stops in capsys.readouterr().out) == says_so
        assert bool(full_run().needs_approval) == says_so

    def test_names_cannot_control_the_terminal(self, remote, capsys):
        remote.add("\x1b[2JRefund\r\nDone.")

        exit_code("--full", "--dry-run")

        assert "  \ufffd[2JRefund\ufffd\ufffdDone.\n" in capsys.readouterr().out

    def test_no_difference_exits_with_0(self, remote):
        fill(remote, 3)
        orq_sync("--full")

        assert "Compared: 3 conversations, 1 page. Nothing was written." in orq_sync("--full", "--dry-run")

    @pytest.mark.parametrize(
        ("fault", "code"), [({"status": 401}, 1), ({"status": 503, "headers": {"Retry-After": "90"}}, 4)], ids=str
    )
    def test_failure_says_why(self, remote, fault, code):
        remote.fail("list", **fault)

        with pytest.raises(CommandError, match=str(fault["status"])) as failure:
            orq_sync("--full", "--dry-run")

        assert failure.value.returncode == code

    def test_with_wait_it_goes_on(self, remote, capsys):
        fill(remote, 3)
        remote.fail("list", status=429, headers={"Retry-After": "0"})

        assert exit_code("--full", "--dry-run", "--wait") == 6
        assert "To create: 3" in capsys.readouterr().out

    def test_ctrl_c_says_that_nothing_was_written(self, remote, monkeypatch):
        monkeypatch.setattr(Progress, "show", interrupt)

        with pytest.raises(CommandError, match="Nothing was written") as interruption:
            orq_sync("--full", "--dry-run")

        assert interruption.value.returncode == 4


class TestAll:
    @pytest.fixture(autouse=True)
    def workspaces(self, remote, settings):
        known = settings.ORQ_WORKSPACES["default"]
        wrong, dead = known | {"BASE_URL": "nonsense"}, known | {"API_KEY": "other"}
        settings.ORQ_WORKSPACES = {"wrong": wrong, "dead": dead, "default": known}
        fill(remote, 3)

    def test_each_workspace_is_synced_whatever_happens_to_another(self, capsys):
        assert exit_code("--all", "--full") == 2

        shown = capsys.readouterr()
        assert re.search(r"Workspace wrong:\nWorkspace dead:\nWorkspace default:\n.* completed: 3 conv", shown.out)
        assert "BASE_URL" in shown.err
        assert "rejects this site's API key" in shown.err

    def test_that_there_is_none_is_wrong_usage(self, settings, monkeypatch, capsys):
        monkeypatch.delenv("ORQ_API_KEY", raising=False)
        settings.ORQ_WORKSPACES = None

        assert exit_code("--all") == 2
        assert "Set ORQ_API_KEY" in capsys.readouterr().err

    def test_worst_code_is_returned(self, settings):
        del settings.ORQ_WORKSPACES["wrong"]

        assert exit_code("--all", "--full", "--dry-run") == 1

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.skipif(connection.vendor != "sqlite", reason="the trigger is written for SQLite")
    def test_others_are_synced_after_the_database_failed_for_one(self, remote, settings, capsys):
        settings.ORQ_WORKSPACES = dict.fromkeys(("first", "second"), settings.ORQ_WORKSPACES["default"])
        orq_sync("--all", "--full")
        remote.remove(Conversation.objects.earliest("remote_id").remote_id)
        execute(
            "CREATE TRIGGER of_the_project BEFORE UPDATE ON django_orq_conversation "
            "WHEN NEW.workspace = 'first' BEGIN SELECT RAISE(ABORT, 'not here'); END"
        )
        try:
            assert exit_code("--all", "--full") == 1
        finally:
            execute("DROP TRIGGER of_the_project")

        assert capsys.readouterr().err.startswith("The database returned an error (")
        assert list(SyncRun.objects.order_by("pk").values_list("workspace", "state"))[2:] == [
            ("first", "failed"),
            ("second", "succeeded"),
        ]

    def test_ctrl_c_ends_them_all(self, settings, monkeypatch):
        settings.ORQ_WORKSPACES = dict.fromkeys(("default", "second"), settings.ORQ_WORKSPACES["default"])
        monkeypatch.setattr(Progress, "show", interrupt)

        with pytest.raises(CommandError, match="was paused"):
            orq_sync("--all")

        assert [run.workspace for run in SyncRun.objects.all()] == ["default"]


class TestWait:
    @pytest.fixture(autouse=True)
    def limited(self, remote):
        fill(remote, 3)
        remote.fail("list", status=429, headers={"Retry-After": "1"})

    def test_terminal_counts_down_and_the_run_goes_on(self):
        output = orq_sync(stdout=Terminal())

        assert "\rWaiting for 1 second: Orq asked us to wait." in output
        assert "completed: 3 conversations" in output

    def test_terminal_does_not_wait_for_long(self, remote):
        remote.clear_faults()
        remote.fail("list", status=429, headers={"Retry-After": "310"})

        assert exit_code_on(Terminal()) == 4

    def test_elsewhere_only_on_request(self):
        assert exit_code_on(io.StringIO()) == 4
        assert "completed: 3" in orq_sync("--wait")

    def test_with_wait_a_line_says_why(self):
        output = orq_sync("--wait")

        assert output.startswith("Waiting for 1 second: Orq asked us to wait.\n")
        assert "completed: 3" in output

    def test_no_wait_on_a_terminal(self):
        assert exit_code_on(Terminal(), "--no-wait") == 4

    def test_budget_is_not_exceeded(self):
        assert exit_code_on(Terminal(), "--max-seconds", "0.5") == 4

    def test_ctrl_c_while_it_waits_pauses_the_run(self, monkeypatch):
        monkeypatch.setattr(Progress, "wait", interrupt)

        with pytest.raises(CommandError, match="was paused"):
            orq_sync("--wait")

        assert SyncRun.objects.get().state == "paused"


def interrupt(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def exit_code_on(stdout: io.StringIO, *arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        orq_sync(*arguments, stdout=stdout)
    return int(exit_.value.code)
