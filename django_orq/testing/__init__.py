"""A sandbox of the Orq.ai conversations API: a real HTTP server, in memory, that can misbehave.

    from django_orq.testing import OrqSandbox

    with OrqSandbox(conversations=250) as sandbox, override_settings(
        ORQ_WORKSPACES=sandbox.settings()
    ):
        sandbox.add(display_name="Where is my order?")
        sandbox.fail("list", status=503, headers={"Retry-After": "2"})
        ...

Under pytest the fixture `orq_sandbox` gives an empty one; `python -m django_orq.testing --help`
tells how to start one by hand. Neither needs Django.

Switches are attributes of the sandbox and hold until they are set again:

| attribute        | value                             | what the sandbox does                       |
|------------------|-----------------------------------|---------------------------------------------|
| `api_key`        | text                              | accepts this key and no other               |
| `latency`        | seconds                           | waits before it carries out any request     |
| `ignore_cursor`  | bool                              | answers every list with page one            |
| `unknown_cursor` | "404", "400", "empty",            | answers so to a cursor that is no           |
|                  | "first_page"                      | conversation here                           |
| `hidden`         | set of ids                        | leaves them out of lists, retrieves them    |
| `transform_list` | callable: answer -> answer        | sends what it returns (any JSON) as a list  |
| `locked_out`     | bool                              | looks empty: no list item, 404 for the rest |
| `on_request`     | callable: (operation, phase)      | calls it "before" and "after" an operation, |
|                  |                                   | in the server's thread                      |

Faults strike `times` requests and are gone: `sandbox.fail(operation, times=1, after=0, …)` with
an operation (list, create, retrieve, update, delete; None: any request) and some of:

| fault                         | what happens                                        | takes effect? |
|-------------------------------|-----------------------------------------------------|---------------|
| `status=, body=, headers=`    | this answer (body: bytes or text)                   | no            |
| `drop="before"`               | connection closed without an answer                 | no            |
| `drop="after"`                | the same, once the operation took effect            | yes           |
| `drop="reset"`                | connection reset without an answer                  | no            |
| `raw=bytes`                   | these bytes, whatever they are, then closed         | no            |
| `applied=True` with the above | as above, once the operation took effect            | yes           |
| `cut=True`                    | the answer ends in the middle of its body           | yes           |
| `delay=seconds`               | the answer comes so much later                      | yes           |
| `drip=seconds`                | byte by byte, head included, with this pause        | yes           |
| `oversize=bytes`              | the body is padded with blanks to this size         | yes           |
| `chunked=True`                | the answer tells no Content-Length                  | yes           |

They can be combined. All facts of the protocol are in the project's `docs/remote-api.md`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sandbox import OrqSandbox, RecordedRequest, make_conversation

__all__ = ["OrqSandbox", "RecordedRequest", "make_conversation"]


def __getattr__(name: str) -> Any:
    # On demand, so that the pytest plugin costs nothing where nobody uses the sandbox.
    if name in __all__:
        return getattr(import_module(".sandbox", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
