"""The whole of it on one machine: sandbox, first sync, worker, beat and web server.

`python -m example_project.demo` runs until Ctrl-C and ends with code 0; with `--check` it proves
that all of it works together, stops, and ends with 0 or 1. It uses only what it starts itself: the
settings in its environment, and whatever these point at, are left alone.
"""

import argparse
import os
import socket
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from .children import ROOT, Child, Children, DemoFailed, StopAsked
from .folder import demo_folder
from .proofs import Browser, prove
from .terminal import say

HOST = "127.0.0.1"
CONVERSATIONS = 2500
KEY = "demo"
LOGIN = ("admin", "admin")
OWN_VARIABLES = ("CELERY_", "DATABASE_URL", "DEMO_DIR", "DJANGO_", "ORQ_")
PYTHON = sys.executable
CELERY = [PYTHON, "-m", "celery", "--app", "example_project"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where one demo runs: its folder, its ports, and the seconds between two syncs."""

    folder: Path
    site_port: int
    sandbox_port: int
    sync_seconds: int

    @property
    def site(self) -> str:
        return f"http://{HOST}:{self.site_port}"

    @property
    def sandbox(self) -> str:
        return f"http://{HOST}:{self.sandbox_port}"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(OWN_VARIABLES)}
        return kept | {
            "DEMO_DIR": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
            "ORQ_API_KEY": KEY,
            "ORQ_BASE_URL": self.sandbox,
            "ORQ_SYNC_SECONDS": str(self.sync_seconds),
            "PYTHONUNBUFFERED": "1",
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m example_project.demo")
    parser.add_argument("--check", action="store_true", help="prove that it works, then stop")
    check: bool = parser.parse_args().check
    try:
        with demo_folder(temporary=check) as (folder, lock):
            demonstrate(folder, lock, check=check)
    except (StopAsked, KeyboardInterrupt):
        say("The check was interrupted." if check else "Everything is stopped.")
        return int(check)
    except DemoFailed as failure:
        sys.stderr.write(f"\n{failure}\n")
        return 1
    return 0


def demonstrate(folder: Path, lock: int, *, check: bool) -> None:
    site_port, sandbox_port = free_ports(*((0, 0) if check else (8000, 8900)))
    plan = Plan(
        folder=folder,
        site_port=site_port,
        sandbox_port=sandbox_port,
        sync_seconds=3 if check else 30,
    )
    with Children(folder=folder, environment=plan.environment(), lock=lock) as children:
        fill(children, plan)
        serve(children, plan)
        if not check:
            say(invitation(plan))
            while True:
                children.wait(60)
        check_all(children, plan)
    if left := children.survivors():
        raise DemoFailed(f"Processes are left in the groups {left}: end them by hand.")
    say("  ✓ everything is stopped, no process is left")


def fill(children: Children, plan: Plan) -> None:
    say("Database and admin user …")
    user, password = LOGIN
    children.run("migrate", manage("migrate", "--no-input"))
    children.run(
        "superuser",
        manage("createsuperuser", "--no-input", f"--username={user}", "--email=admin@example.com"),
        extra={"DJANGO_SUPERUSER_PASSWORD": password},
    )
    say(f"Sandbox with {CONVERSATIONS:,} conversations at {plan.sandbox} …")
    port, conversations = f"--port={plan.sandbox_port}", f"--conversations={CONVERSATIONS}"
    sandbox = children.start("sandbox", [PYTHON, "-m", "django_orq.testing", port, conversations, f"--key={KEY}"])
    children.wait_until(Browser(plan.sandbox).answers, child=sandbox)
    say("First full sync …")
    children.run("first-sync", manage("orq_sync", "--full"), shown=True)


def serve(children: Children, plan: Plan) -> None:
    say("Worker, web server and beat …")
    worker = children.start(
        "worker",
        [*CELERY, "worker", "--loglevel=INFO", "--concurrency=2", "--without-gossip"],
    )
    children.wait_until(lambda: is_ready(worker), child=worker)
    # Debug mode serves the admin's static files; the worker would keep all its SQL in memory.
    site = children.start(
        "web",
        manage("runserver", "--noreload", f"{HOST}:{plan.site_port}"),
        extra={"DJANGO_DEBUG": "1"},
    )
    children.wait_until(Browser(plan.site).answers, child=site)
    schedule = plan.folder / "beat-schedule"
    children.start("beat", [*CELERY, "beat", "--loglevel=INFO", f"--schedule={schedule}"])


def check_all(children: Children, plan: Plan) -> None:
    say("Proofs")
    proofs = prove(
        children,
        site=Browser(plan.site),
        sandbox=Browser(plan.sandbox, headers={"Authorization": f"Bearer {KEY}"}),
        login=LOGIN,
        count=CONVERSATIONS,
    )
    try:
        for proof in proofs:
            say(f"  ✓ {proof}")
    except DemoFailed as failure:
        raise DemoFailed(f"{failure}\n{children.tails()}") from None


def invitation(plan: Plan) -> str:
    user, password = LOGIN
    return f"""
  Admin    {plan.site}/   (user {user}, password {password})
  REST     {plan.site}/orq/   (the same user; described at {plan.site}/schema/page/)
  Sandbox  {plan.sandbox}/v2/conversations   (Authorization: Bearer {KEY})
  Logs     {plan.folder.relative_to(ROOT)}/*.log

Beat asks for what is new every {plan.sync_seconds} s. Ctrl-C stops all of it.
"""


def is_ready(worker: Child) -> bool:
    return " ready." in worker.log.read_text(errors="replace")


def manage(*arguments: str) -> list[str]:
    return [PYTHON, "manage.py", *arguments]


def free_ports(*wanted: int) -> list[int]:
    """For each port wanted that port if it is free, else any other (0 wants any)."""
    with ExitStack() as probes:  # all are open at once, so that no port is taken twice
        return [bind(probes.enter_context(closing(socket.socket())), port) for port in wanted]


def bind(probe: socket.socket, port: int) -> int:
    # Connections of a demo that just ended don't make its port count as taken.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
    except OSError:
        say(f"Port {port} is in use, so another is taken.")
        probe.bind((HOST, 0))
    return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
