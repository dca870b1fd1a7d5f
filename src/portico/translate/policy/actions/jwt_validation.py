"""`jwt-validation`: which tokens the gate is asked to verify, and by which keys."""

from collections.abc import Mapping
from typing import Final

from portico.model.errors import TOKEN_REFUSED
from portico.policy.actions.jwt_validation import JwtValidation
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.gate_pages import page
from portico.translate.policy.actions.values import text


def _jwt_validation(config: JwtValidation) -> Compiled:
    keys = config.jws.keys
    return Compiled(
        {
            "issuers": [text(one.value) for one in config.issuer.allow_list],
            "audiences": [text(one.value) for one in config.audience.allow_list],
            "tokens": [
                {"type": one.type, "method": one.method, "name": text(one.name), "prefix": text(one.prefix)}
                for one in config.http.tokens
            ],
            "algorithms": list(config.jws.allowed_algorithms),
            "key_sets": [text(url) for key in keys for url in key.sources.additional_jkus],
            "by_kid": any(key.identification and key.identification.token_claims for key in keys),
            "refused": page(TOKEN_REFUSED, www_authenticate="Bearer"),
        },
        waits=True,
    )


COMPILERS: Final[Mapping[str, Compiler]] = {JwtValidation.TYPE: _jwt_validation}
