"""A sandbox of the Orq.ai conversations API: a real HTTP server, with its data in memory, that can simulate failures.

    from django_orq.testing import OrqSandbox

    with OrqSandbox(conversations=250) as sandbox, override_settings(
        ORQ_WORKSPACES=sandbox.settings()
    ):
        sandbox.add(display_name="Where is my order?")
        sandbox.fail("list", status=503, headers={"Retry-After": "2"})
        ...

Under pytest the fixture `orq_sandbox` provides an empty one; `python -m django_orq.testing --help`
shows how to start one from the command line. Neither needs Django.

For tests of a Django project, `OrqTestCase` starts an empty one for each test, and `mirrored` saves
rows of the mirror without a server.

These attributes of the sandbox change how it behaves, until they are set again:

| attribute        | value                             | what the sandbox does                       |
|------------------|-----------------------------------|---------------------------------------------|
| `api_key`        | string                            | accepts only this key                       |
| `latency`        | seconds                           | waits before it handles any request         |
| `ignore_cursor`  | bool                              | responds to every list with the first page  |
| `unknown_cursor` | "404", "400", "empty",            | responds like this if the cursor is not the |
|                  | "first_page"                      | id of an existing conversation              |
| `hidden`         | set of ids                        | omits them from lists, still retrieves them |
| `transform_list` | callable: response -> response    | sends its return value, which may be any    |
|                  |                                   | JSON, as the response to list               |
| `locked_out`     | bool                              | seems empty: empty lists, 404 for the rest  |
| `on_request`     | callable: (operation, phase)      | calls it "before" and "after" an operation, |
|                  |                                   | in the server's thread                      |

A fault affects the next requests only: `sandbox.fail(operation, times=1, after=0, …)` takes an
operation (list, create, retrieve, update, delete; None: any request) and at least one of:

| fault                         | what happens                                        | takes effect? |
|-------------------------------|-----------------------------------------------------|---------------|
| `status=, body=, headers=`    | this response is sent (body: bytes or string)       | no            |
| `drop="before"`               | the connection is closed without a response         | no            |
| `drop="after"`                | the same, after the operation has taken effect      | yes           |
| `drop="reset"`                | the connection is reset without a response          | no            |
| `raw=bytes`                   | these bytes are sent, then the connection is closed | no            |
| `applied=True` with the above | as above, after the operation has taken effect      | yes           |
| `cut=True`                    | the response ends in the middle of its body         | yes           |
| `delay=seconds`               | the response is sent this much later                | yes           |
| `drip=seconds`                | it is sent byte by byte, with this pause            | yes           |
| `oversize=bytes`              | the body is padded with spaces to this size         | yes           |
| `chunked=True`                | the response is chunked, without a Content-Length   | yes           |

They can be combined. The protocol is described in the project's `docs/remote-api.md`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import OrqTestCase
    from .rows import mirrored
    from .sandbox import OrqSandbox, RecordedRequest, make_conversation

__all__ = ["OrqSandbox", "OrqTestCase", "RecordedRequest", "make_conversation", "mirrored"]

_MODULES = {"OrqTestCase": ".cases", "mirrored": ".rows"}
"""Where a name is, if not in `.sandbox`. Only these modules import Django."""


def __getattr__(name: str) -> Any:
    # Imported on demand, so that the pytest plugin costs nothing in projects that do not use the sandbox.
    if name in __all__:
        return getattr(import_module(_MODULES.get(name, ".sandbox"), __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
