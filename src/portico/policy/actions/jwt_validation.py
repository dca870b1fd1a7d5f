"""`jwt-validation` (https://ngrok.com/docs/traffic-policy/actions/jwt-validation/, RFC 7519)."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from portico.policy.actions.action import ActionConfig, Compared, Fields, Likeness
from portico.policy.actions.fields import Address, Interpolated
from portico.policy.effects import Effect, End, Ending, Scene
from portico.policy.phases import Phase
from portico.policy.template import parse_template

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class Issuer(Fields):
    """One issuer."""

    value: Interpolated = Field(description="The `iss` claim, letter by letter.")


class Issuers(Fields):
    """Who may have signed."""

    allow_list: tuple[Issuer, ...] = Field(min_length=1, description="Issuers, one at least.")


class Audience(Fields):
    """One audience."""

    value: Interpolated = Field(description="A value of the `aud` claim.")


class Audiences(Fields):
    """For whom the token must be."""

    allow_list: tuple[Audience, ...] = Field(default=(), description="Audiences; one of them must be in the token.")


class Token(Fields):
    """Where a token stands."""

    type: Literal["id_token", "access_token", "at+jwt", "it+jwt", "plain", "jwt"] = Field(description="Kind of token.")
    method: Literal["header", "body"] = Field(description="Where it is looked for.")
    name: Interpolated = Field(description="Header or field of the body.")
    prefix: Interpolated = Field(default=parse_template(""), description="What stands before it, such as `Bearer `.")


class Tokens(Fields):
    """The tokens that a request must bring, all of them."""

    tokens: tuple[Token, ...] = Field(min_length=1, description="Tokens, one at least; all must be there.")


class Identification(Fields):
    """How the key of a token is found."""

    token_claims: tuple[Literal["kid"], ...] = Field(default=(), description="`kid`.")


class Sources(Fields):
    """Where keys come from."""

    additional_jkus: tuple[Address, ...] = Field(min_length=1, description="URLs of key sets (JWKS).")


class Key(Fields):
    """Keys that may have signed."""

    identification: Identification | None = Field(default=None, description="How the key of a token is found.")
    sources: Sources = Field(description="Where keys come from.")


def _listed(keys: Any) -> Any:
    """ngrok's reference has a list here, its examples the one group without a list."""
    return [keys] if isinstance(keys, dict) else keys


class Signatures(Fields):
    """How tokens must be signed."""

    allowed_algorithms: tuple[Algorithm, ...] = Field(min_length=1, description="Algorithms; `none` is none.")
    keys: Annotated[tuple[Key, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="Keys, one group at least."
    )


class JwtValidation(ActionConfig):
    """Lets requests in that bring a token which is signed, in time, and of the right issuer and audience."""

    TYPE = "jwt-validation"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Asks for a signed token (JWT)."
    COMPARED = Compared(Likeness.SAME, "Names of algorithms are checked when the policy is read.")

    issuer: Issuers = Field(description="Who may have signed.")
    audience: Audiences = Field(default=Audiences(), description="For whom the token must be.")
    http: Tokens = Field(description="Where tokens stand.")
    jws: Signatures = Field(description="How they must be signed.")

    def stops(self) -> bool:
        """Always."""
        return True

    def act(self, scene: Scene) -> Effect:
        """Whether tokens are there; their signature is assumed to be right."""
        for token in self.http.tokens:
            name, prefix = scene.fill(token.name).lower(), scene.fill(token.prefix)
            given = next(iter(scene.headers.get(name, [])), "")
            if token.method == "header" and not (given and given.startswith(prefix)):
                return Effect(f"no token in the header {name}", Ending(End.RESPONSE, 401))
        return Effect("the tokens are assumed to be valid", assumed=True)
