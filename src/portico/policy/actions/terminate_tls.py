"""`terminate-tls`: how TLS ends at the edge (https://ngrok.com/docs/traffic-policy/actions/terminate-tls/).

Whether certificates and keys are fit is checked where a Bind's own are (`edge/agent_options.py`).
"""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from portico.model.endpoint import ClientVerification, EdgeTls, KeyPair, TlsVersion
from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Interpolated, Secret
from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase
from portico.policy.template import Template

_Choice = TypeVar("_Choice", bound=StrEnum)


def _one_of(kind: type[_Choice]) -> BeforeValidator:
    def choose(value: Any) -> _Choice:
        try:
            return kind(str(value))  # YAML reads 1.2 as a number
        except ValueError:
            raise ValueError(f"is one of {', '.join(kind)}") from None

    return BeforeValidator(choose)


Version = Annotated[TlsVersion, _one_of(TlsVersion)]


class TerminateTls(ActionConfig):
    """Ends TLS at the edge, with these rules."""

    TYPE = "terminate-tls"
    PHASES = (Phase.TCP_CONNECT,)
    MEANING = "Ends TLS at the edge: versions, certificate, client certificates."
    COMPARED = Compared(
        Likeness.DIFFERENT,
        "Authorities are PEM, not ids, and may have CRLs with them; `verify-if-given` is a fourth strategy; "
        "neither expressions nor interpolation yet.",
    )

    min_version: Version = Field(default=TlsVersion.TLS_1_2, description="Lowest version of TLS: 1.2 or 1.3.")
    max_version: Version = Field(default=TlsVersion.TLS_1_3, description="Highest version of TLS.")
    server_certificate: Interpolated | None = Field(default=None, description="PEM of the certificate and its chain.")
    server_private_key: Secret | None = Field(default=None, description="PEM of its key.")
    mutual_tls_certificate_authorities: tuple[Interpolated, ...] | None = Field(
        default=None, min_length=1, description="PEM of authorities that may sign visitors' certificates, and CRLs."
    )
    mutual_tls_verification_strategy: Annotated[ClientVerification, _one_of(ClientVerification)] | None = Field(
        default=None, description="What is asked of visitors' certificates; `require-and-verify` if nothing is said."
    )

    @model_validator(mode="after")
    def _fits(self) -> "TerminateTls":
        if self.min_version > self.max_version:
            raise ValueError("min_version is greater than max_version")
        if bool(self.server_certificate) != bool(self.server_private_key):
            raise ValueError("server_certificate and server_private_key need each other")
        if self.mutual_tls_verification_strategy and self.mutual_tls_certificate_authorities is None:
            raise ValueError("mutual_tls_verification_strategy needs mutual_tls_certificate_authorities")
        return self

    def edge_tls(self) -> EdgeTls:
        """The same in the model's words."""
        certificate, key = self.server_certificate, self.server_private_key
        pair = KeyPair(certificate.text, key.text) if certificate and key and certificate.text and key.text else None
        given = self.mutual_tls_certificate_authorities
        return EdgeTls(
            pair,
            client_authorities=None if given is None else "\n".join(one.text for one in given),
            verification=self.mutual_tls_verification_strategy or ClientVerification.REQUIRE,
            minimum=self.min_version,
            maximum=self.max_version,
        )

    def written(self) -> tuple[Template, ...]:
        """Everything in it that is PEM."""
        pair = tuple(one for one in (self.server_certificate, self.server_private_key) if one)
        return (*pair, *(self.mutual_tls_certificate_authorities or ()))

    def act(self, scene: Scene) -> Effect:
        """The handshake is over when a request is explained."""
        return Effect(f"ends TLS {self.min_version} to {self.max_version}")
