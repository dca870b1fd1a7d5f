"""`http-request`: what the gate is told to send."""

from collections.abc import Mapping
from typing import Final

from portico.model.errors import SOURCE_UNAVAILABLE
from portico.policy.actions.http_request import HttpRequest
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.gate_pages import page
from portico.translate.policy.actions.values import text, texts


def _http_request(config: HttpRequest) -> Compiled:
    return Compiled(
        {
            "url": text(config.url),
            "method": config.method,
            "parameters": [[text(one.key), text(one.value)] for one in config.query_params],
            "headers": texts(config.headers),
            "body": text(config.body),
            "redirects": config.max_redirects,
            "seconds": config.timeout.total_seconds(),
            "retry": config.retry_condition,
            "halts": config.on_error == "halt",
            "code": str(SOURCE_UNAVAILABLE),
            "failed": page(SOURCE_UNAVAILABLE),
        },
        waits=True,
    )


COMPILERS: Final[Mapping[str, Compiler]] = {HttpRequest.TYPE: _http_request}
