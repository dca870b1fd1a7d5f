"""`add-headers`, `remove-headers`, `set-vars`, `log`."""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.headers import AddHeaders, RemoveHeaders
from portico.policy.actions.log import Log
from portico.policy.actions.set_vars import SetVars
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import nested, texts


def _add_headers(config: AddHeaders) -> Compiled:
    return Compiled({"headers": texts(config.headers)})


def _remove_headers(config: RemoveHeaders) -> Compiled:
    return Compiled({"headers": config.headers})


def _set_vars(config: SetVars) -> Compiled:
    return Compiled({"vars": [[name, nested(value)] for one in config.vars for name, value in one.items()]})


def _log(config: Log) -> Compiled:
    return Compiled({"metadata": nested(config.metadata)})


COMPILERS: Final[Mapping[str, Compiler]] = {
    AddHeaders.TYPE: _add_headers,
    RemoveHeaders.TYPE: _remove_headers,
    SetVars.TYPE: _set_vars,
    Log.TYPE: _log,
}
