"""Run the example project on one machine: a sandbox instead of Orq, a full sync, a worker with beat, a web server.

`python -m example_project.demo` runs until Ctrl-C. Its files are in `.demo`, and the next start uses them again. With
`--check` it uses a temporary folder, checks that everything works together, and exits with 0 or 1. It ignores
environment variables that configure the example project or Django, and does not touch what they refer to.
"""

import argparse
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import django
import requests
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from django_orq.testing import OrqSandbox

ROOT = Path(__file__).resolve().parents[1]
HOST, KEY, LOGIN = "127.0.0.1", "demo", ("admin", "admin")
OWN_VARIABLES = ("CELERY_", "DATABASE_URL", "DEMO_DIR", "DJANGO_", "ORQ_")
WORKER = ("-m", "celery", "--app=example_project", "worker", "--beat", "--loglevel=INFO", "--concurrency=2")
WEB = ("manage.py", "runserver", "--noreload", "--insecure")  # the admin's static files without debug mode
BANNER = """
  Admin    {site}/   (user admin, password admin)
  REST     {site}/orq/conversations/   (same user; documentation at {site}/schema/page/)
  Sandbox  {sandbox}/v2/conversations   (Authorization: Bearer demo)
  Logs     .demo/*.log

Rename a conversation, or several at once from the list; start a sync and watch it. New conversations are fetched
every 30 seconds. Ctrl-C stops everything. The next start uses the same data; delete .demo to start from scratch.
"""


class DemoFailed(Exception):
    """The demo cannot continue; the message tells the user why."""


class Children(ExitStack):
    """Child processes, each with a log. They are monitored, and stopped in reverse order on exit."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, log: Path, *command: str) -> None:
        """Run Python with these arguments; its output is written to the log."""
        with log.open("wb") as output:
            self._processes[log] = process = subprocess.Popen(  # noqa: S603  # the demo's own commands
                [sys.executable, "-u", *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C goes to the demo only, which then stops them in order
            )
        self.callback(_end, process)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 90) -> None:
        """Wait. Raises DemoFailed if it takes too long or a child process has ended."""
        until = time.monotonic() + seconds
        while not ready():
            for log, process in self._processes.items():
                self.expect(process.poll() is None, f"The {log.stem} process has ended.")
            self.expect(time.monotonic() < until, f"Not ready after {seconds} seconds.")
            time.sleep(0.2)

    def expect(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001  # as with assert
        """Raises DemoFailed, with the last lines of all logs, unless ``holds`` is true."""
        if not holds:
            logs = {log.name: log.read_text(errors="replace").splitlines()[-20:] for log in self._processes}
            tails = ("\n    ".join([f"Last lines of {name}:", *lines]) for name, lines in logs.items())
            raise DemoFailed("\n\n".join([*tails, otherwise]))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)  # Celery's worker finishes its task first
    finally:  # also on a second Ctrl-C; and a killed worker leaves its own child processes behind
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m example_project.demo")
    parser.add_argument("--check", action="store_true", help="check that everything works, then stop")
    check: bool = parser.parse_args().check
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with Children() as children:
            demonstrate(children, check=check)
    except KeyboardInterrupt:
        say("\nStopped.")
        return int(check)
    except (CommandError, DemoFailed, requests.RequestException) as failure:
        sys.stderr.write(f"\n{failure}\n")
        return 1
    return 0


def demonstrate(children: Children, *, check: bool) -> None:
    """Start everything. With ``check``, return after the checks; otherwise run until interrupted."""
    folder = Path(children.enter_context(TemporaryDirectory()) if check else ROOT / ".demo")
    sandbox = start_sandbox(children, folder, port=0 if check else 8900)
    configure(folder, sandbox, sync_seconds=3 if check else 30)
    fill(sandbox)
    say("Starting worker, beat and web server …")
    children.start(folder / "worker.log", *WORKER, f"--schedule={folder}/beat-schedule")
    port = next(port for port in range(8000, 9000) if not listens(port))
    children.start(folder / "web.log", *WEB, f"{HOST}:{port}")
    children.wait_until(lambda: listens(port) and " ready." in (folder / "worker.log").read_text())
    site = f"http://{HOST}:{port}"
    if check:
        for result in run_checks(sandbox, site, children):
            say(f"  ✓ {result}")
    else:
        say(BANNER.format(site=site, sandbox=sandbox.base_url))
        children.wait_until(lambda: False, seconds=float("inf"))


def start_sandbox(children: Children, folder: Path, *, port: int) -> OrqSandbox:
    """Start a sandbox with the conversations that the last demo in this folder saved, or with new ones."""
    if listens(port):  # also keeps a second demo from using the folder
        raise DemoFailed(f"Port {port} is in use, perhaps by another demo. Stop that first.")
    saved = folder / "orq.json"
    sandbox = OrqSandbox(api_key=KEY, port=port, conversations=0 if saved.exists() else 2500)
    children.enter_context(sandbox)
    if saved.exists():
        for conversation in json.loads(saved.read_text()):
            sandbox.add(**conversation)
        saved.unlink()
    else:  # the last demo was killed: its database belongs to conversations that no longer exist
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    children.callback(lambda: saved.write_text(json.dumps(sandbox.conversations)))
    return sandbox


def configure(folder: Path, sandbox: OrqSandbox, *, sync_seconds: int) -> None:
    """Set up Django in this process and, through environment variables, in those that are started from now on."""
    for name in [name for name in os.environ if name.startswith(OWN_VARIABLES)]:
        del os.environ[name]
    os.environ |= {
        "DEMO_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "no_proxy": HOST,
        "ORQ_API_KEY": KEY,
        "ORQ_BASE_URL": sandbox.base_url,
        "ORQ_SYNC_SECONDS": str(sync_seconds),
    }
    django.setup()
    logging.getLogger("django_orq").setLevel(logging.WARNING)  # the command shows its own progress


def fill(sandbox: OrqSandbox) -> None:
    say("Creating the database and the admin user …")
    call_command("migrate", interactive=False, verbosity=0)
    users = get_user_model().objects
    if not users.exists():
        users.create_superuser(LOGIN[0], None, LOGIN[1])
    say(f"Sandbox with {len(sandbox):,} conversations at {sandbox.base_url}\nRunning a full sync …")
    call_command("orq_sync", full=True)


def run_checks(sandbox: OrqSandbox, site: str, children: Children) -> Iterator[str]:
    """Yield a line for each check that passes. Raises DemoFailed at the first that does not."""

    def is_first(name: str, **query: str) -> bool:
        listed = requests.get(f"{site}/orq/conversations/", query | {"page_size": "1"}, auth=LOGIN, timeout=20)
        return listed.ok and [each["display_name"] for each in listed.json()["results"]] == [name]

    login = requests.get(f"{site}/admin/login/", timeout=20)
    children.expect("csrfmiddlewaretoken" in login.text, "The admin's login page does not load.")
    children.expect(is_first(sandbox.conversations[0]["displayName"]), "REST does not list the newest conversation.")
    yield "the admin's login page loads, and REST lists the newest conversation first"
    children.expect(not (problem := follow_readme(site)), f"The README's session with curl failed:\n{problem}")
    renamed = any((each.operation, each.status) == ("update", 200) for each in sandbox.requests)
    children.expect(renamed, "The README's session with curl did not rename a conversation in the sandbox.")
    yield "the README's session with curl works, and its rename reached the sandbox"
    sandbox.add("Created by others")
    children.wait_until(lambda: is_first("Created by others", search="Created by others"))
    yield "a conversation created in the sandbox was mirrored by beat and worker"


def follow_readme(site: str) -> str:
    """Run the README's session with curl; return its output if a command failed, otherwise an empty string."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\$ (.*)", next(block for block in blocks if "curl" in block), re.MULTILINE)
    script = "\n".join(["set -e -o pipefail", *lines]).replace("http://127.0.0.1:8000", site)
    finished = subprocess.run(["bash", "-xc", script], capture_output=True, text=True, timeout=120, check=False)  # noqa: S603, S607 # from the README
    return finished.stderr + finished.stdout if finished.returncode else ""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
