"""`restrict-ips` and `basic-auth`: who may come in, by address and by password."""

import hashlib
from collections.abc import Mapping
from typing import Final

from portico.policy.actions.basic_auth import BasicAuth
from portico.policy.actions.restrict_ips import RestrictIps
from portico.policy.template import Template
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text
from portico.translate.policy.lua import Code, LuaValue
from portico.translate.policy.networks import networks_lua


def _restrict_ips(config: RestrictIps) -> Compiled:
    lists = {"allow": _networks(config.allow), "deny": _networks(config.deny)}
    return Compiled({**lists, "enforce": config.enforce})


def _networks(cidrs: tuple[Template, ...]) -> LuaValue:
    """Networks that are known now, to be searched at once, and functions that make the text of others."""
    known = [cidr.literal for cidr in cidrs if cidr.literal is not None]
    others = [text(cidr) for cidr in cidrs if cidr.literal is None]
    return {"known": Code(networks_lua(known)), "others": others}


def _basic_auth(config: BasicAuth) -> Compiled:
    known = [_hash(one.literal) for one in config.credentials if one.literal is not None]
    others = [text(one) for one in config.credentials if one.literal is None]
    return Compiled({"known": known, "others": others, "realm": config.realm, "enforce": config.enforce})


def _hash(credential: str) -> str:
    """What the runtime compares with: no password stands in Envoy's configuration."""
    return hashlib.sha256(credential.encode()).hexdigest()


COMPILERS: Final[Mapping[str, Compiler]] = {RestrictIps.TYPE: _restrict_ips, BasicAuth.TYPE: _basic_auth}
