"""The vendor's SDK as a client, in a separate process because it pins old versions of `requests`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from django_orq.testing import OrqSandbox

SCRIPT = Path(__file__).with_name("sdk_client.py")


class SdkError(Exception):
    """The exception that the SDK raised: `type`, `status`, `message` and `body` (see `sdk_client`)."""

    def __init__(self, error):
        super().__init__(f"{error['type']}: {error['message']}")
        self.type = error["type"]
        self.status = error["status"]
        self.message = error["message"]
        self.body = error["body"]


class SdkClient:
    """Calls the SDK as its users do: `client.list(limit=5)`, `client.delete(…)`, …"""

    def __init__(self, process, sandbox):
        self._process = process
        self._sandbox = sandbox
        self.api_key = sandbox.api_key

    def call(self, operation, **arguments):
        """Return what the SDK returned, dumped as described in `sdk_client`; raises SdkError."""
        call = {
            "base_url": self._sandbox.base_url,
            "api_key": self.api_key,
            "operation": operation,
            "arguments": arguments,
        }
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SdkError(answer["error"])
        return answer["result"]

    def __getattr__(self, operation):
        return lambda **arguments: self.call(operation, **arguments)


def _process_of(version):
    python = os.environ.get("ORQ_SDK_PYTHON")
    if not python:
        pytest.skip("needs the vendor's SDK: make conformance")
    with subprocess.Popen(  # noqa: S603 - the path comes from our Makefile
        [python.format(version), SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def _sdk_rc29_process():
    yield from _process_of("4.1.0rc29")


@pytest.fixture(scope="session")
def _sdk_4320_process():
    yield from _process_of("4.3.20")


@pytest.fixture
def sdk_rc29(_sdk_rc29_process, orq_sandbox):
    """SDK 4.1.0rc29, which uses the default dialect, with `orq_sandbox`."""
    return SdkClient(_sdk_rc29_process, orq_sandbox)


@pytest.fixture
def sdk_4320(_sdk_4320_process, camel_sandbox):
    """SDK 4.3.20, which uses the “camel” dialect, with `camel_sandbox`."""
    return SdkClient(_sdk_4320_process, camel_sandbox)


@pytest.fixture
def camel_sandbox():
    with OrqSandbox(style="camel") as sandbox:
        yield sandbox
