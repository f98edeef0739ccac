"""Calls the vendor's SDK. It is run by the Python of an environment that has `orq-ai-sdk`.

Reads one call per line from standard input and writes one line per call to standard output:

    {"base_url": "http://…", "api_key": "…", "operation": "list", "arguments": {"limit": 5}}

    {"result": …}   what the SDK returned, dumped by its own models: the names are those of the
                    API's JSON ("_id", "displayName"), the values as parsed by the SDK (times are
                    floats, an absent optional field is null or omitted); null for delete
    {"error": {"type": …, "status": …, "message": …, "body": …}}   what the SDK raised; status and
                    body are null if the server did not respond

`operation` is list, create, retrieve, update or delete; `arguments` are the SDK's own keyword
arguments. `retries` is an object {"initial_interval", "max_interval", "exponent",
"max_elapsed_time", "retry_connection_errors"}, times in milliseconds.
"""

import functools
import json
import sys

from orq_ai_sdk import Orq
from orq_ai_sdk.utils import BackoffStrategy, RetryConfig

TIMEOUT_MS = 10_000


@functools.cache
def client(base_url, api_key):
    return Orq(server_url=base_url, api_key=api_key, timeout_ms=TIMEOUT_MS)


def retry_config(retries):
    connection_errors = retries.pop("retry_connection_errors")
    return RetryConfig("backoff", BackoffStrategy(**retries), connection_errors)


def answer(call):
    arguments = call["arguments"]
    if "retries" in arguments:
        arguments["retries"] = retry_config(arguments["retries"])
    conversations = client(call["base_url"], call["api_key"]).conversations
    try:
        result = getattr(conversations, call["operation"])(**arguments)
    except Exception as error:  # noqa: BLE001, RUF100 - whatever the SDK raises is the answer
        return {"error": described(error)}
    return {"result": result and result.model_dump(mode="json", by_alias=True)}


def described(error):
    return {
        "type": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error),
        "body": getattr(error, "body", None),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
