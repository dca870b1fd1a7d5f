"""ngrok's official API client for Python, driven line by line: a JSON command in, a JSON answer out.

It is a program of its own because the client and ngrok's agent SDK are both called `ngrok`.
"""

import json
import socket
import sys

import ngrok

resolve = socket.getaddrinfo
# What RFC 6761 wants of resolvers, and not all do.
socket.getaddrinfo = lambda host, *rest, **options: resolve(
    "127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **options
)
client = ngrok.Client(sys.argv[1], sys.argv[2])

for line in sys.stdin:
    command = json.loads(line)
    try:
        result = getattr(getattr(client, command["service"]), command["method"])(**command["arguments"])
        if command["method"] == "list":
            entries = iter(result)
            result = []
            while (entry := next(entries, None)) is not None:
                result.append(entry)
        answer = {"result": result}
    except ngrok.Error as error:
        answer = {
            "error": {
                "kind": type(error).__name__,
                "code": error.error_code,
                "status": error.http_status_code,
                "message": error.args[1],
                "operation_id": error.operation_id,
            }
        }
    print(json.dumps(answer, default=lambda value: value._props), flush=True)
