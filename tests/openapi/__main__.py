"""Tests the REST API against its OpenAPI schema: `make schema`.

Starts the example project's server with a sandbox that fails now and then, and has schemathesis send requests that
the schema allows, and others. Exits with 1 after a server error, or a status or response that is not in the schema.
"""

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from django_orq.testing import OrqSandbox

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
USER = PASSWORD = "admin"
EXAMPLES = 40
"""For each of the sixteen operations, in addition to the schema's examples."""
LEAST_CASES = 500
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 502, "applied": True},
    {"status": 401},
    {"status": 403},
    {"status": 404, "body": '{"message": "Not here"}'},
    {"status": 422},
    {"status": 429},
    {"status": 200, "body": "<html>"},
    {"drop": "after"},
    {"cut": True},
)


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        OrqSandbox(conversations=120) as sandbox,
        server(environment(folder, sandbox)) as address,
    ):
        for number in range(500):
            sandbox.fail(after=4 * number, **random.choice(FAULTS))  # noqa: S311 # no secret
        code = hold_to_its_schema(address, folder)
        log = (Path(folder) / "web.log").read_text(errors="replace")
    cases = log.count("/orq/")
    sys.stdout.write(f"{cases} requests came in\n")
    return code or int(cases < LEAST_CASES)


def environment(folder: str, sandbox: OrqSandbox) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "ORQ_", "DATABASE_"))}
    return kept | {
        "DEMO_DIR": folder,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "NO_PROXY": HOST,
        "ORQ_API_KEY": sandbox.api_key,
        "ORQ_BASE_URL": sandbox.base_url,
    }


@contextmanager
def server(environ: Mapping[str, str]) -> Iterator[str]:
    """The example project's server with a full mirror; yields its address."""
    manage("migrate", "--verbosity=0", environ=environ)
    manage("createsuperuser", "--no-input", f"--username={USER}", "--email=admin@example.com", environ=environ)
    manage("orq_sync", "--full", environ=environ)
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    log = Path(environ["DEMO_DIR"]) / "web.log"
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"{HOST}:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)  # noqa: S603 # ours
    try:
        await_answer(f"http://{HOST}:{port}/schema/", process)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()


def manage(*arguments: str, environ: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environ, check=True)  # noqa: S603 # ours


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            requests.get(url, timeout=30).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("the example project's server does not answer")


def hold_to_its_schema(address: str, folder: str) -> int:
    config = Path(__file__).with_name("schemathesis.toml")
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(config),
        "run",
        f"{address}/schema/?format=json",
    ]
    command += [f"--checks={CHECKS}", f"--max-examples={EXAMPLES}", "--generation-database=none"]
    headers = [f"--header={name}: {value}" for name, value in logged_in(address).items()]
    return subprocess.run([*command, *headers, *sys.argv[1:]], cwd=folder, check=False).returncode  # noqa: S603 # ours


def logged_in(address: str) -> dict[str, str]:
    """The headers of a session, because checking a password for each request is slow."""
    url = f"{address}/admin/login/"
    with requests.Session() as browser:
        browser.trust_env = False
        browser.get(url, timeout=30)
        form = {"username": USER, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post(url, form, headers={"Referer": url}, timeout=30, allow_redirects=False).raise_for_status()
        token, session = browser.cookies["csrftoken"], browser.cookies["sessionid"]
    return {"Cookie": f"csrftoken={token}; sessionid={session}", "X-CSRFToken": token}


if __name__ == "__main__":
    sys.exit(main())
