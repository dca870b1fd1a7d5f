"""`deny`, `close-connection`, `custom-response`."""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.endings import CloseConnection, CustomResponse, Deny
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text, texts


def _deny(config: Deny) -> Compiled:
    return Compiled({"status": config.status_code})


def _close(_config: CloseConnection) -> Compiled:
    return Compiled()


def _custom_response(config: CustomResponse) -> Compiled:
    return Compiled({"status": config.status_code, "body": text(config.body), "headers": texts(config.headers)})


COMPILERS: Final[Mapping[str, Compiler]] = {
    Deny.TYPE: _deny,
    CloseConnection.TYPE: _close,
    CustomResponse.TYPE: _custom_response,
}
