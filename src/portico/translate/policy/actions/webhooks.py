"""`verify-webhook`: how each sender signs, as their pages say. What is missing here is refused when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.actions.verify_webhook import VerifyWebhook
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text
from portico.translate.policy.lua import LuaValue

TOLERANCE: Final = 300
"""Seconds that a signed time may be away from now."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How one sender signs: an HMAC of some parts of the request, in a header."""

    header: str
    prefix: str = ""
    """What stands before the signature, such as `sha256=`."""
    hash: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    signed: tuple[str, ...] = ("body",)
    """Parts in order: `body`, `url`, `timestamp`, `id`, or `=text`."""
    timestamp: str = ""
    """Header with the signed time, or a key of `header` where that has pairs (`t=1,v1=…`)."""
    pairs: str = ""
    """The key of the signature, where the header has pairs."""
    id: str = ""
    secret_base64: str = ""
    """A prefix of secrets that are base64 behind it."""

    def lua(self) -> dict[str, LuaValue]:
        """As the runtime reads it."""
        names = ("header", "prefix", "hash", "encoding", "timestamp", "pairs", "id", "secret_base64")
        return {name: getattr(self, name) for name in names} | {"signed": self.signed}


_META: Final = Signature("x-hub-signature-256", "sha256=")
_SVIX: Final = Signature(
    "svix-signature",
    "v1,",
    encoding="base64",
    signed=("id", "=.", "timestamp", "=.", "body"),
    timestamp="svix-timestamp",
    id="svix-id",
    secret_base64="whsec_",  # noqa: S106 - how secrets begin
)
_PAIRED: Final = ("timestamp", "=.", "body")
SIGNATURES: Final = {
    "bitbucket": Signature("x-hub-signature", "sha256="),
    "buildkite": Signature("x-buildkite-signature", signed=_PAIRED, timestamp="timestamp", pairs="signature"),
    "calendly": Signature("calendly-webhook-signature", signed=_PAIRED, timestamp="t", pairs="v1"),
    "circleci": Signature("circleci-signature", "v1="),
    "clerk": _SVIX,
    "docusign": Signature("x-docusign-signature-1", encoding="base64"),
    "dropbox": Signature("x-dropbox-signature"),
    "facebook_graph_api": _META,
    "facebook_messenger": _META,
    "github": _META,
    "heroku": Signature("heroku-webhook-hmac-sha256", encoding="base64"),
    "instagram": _META,
    "intercom": Signature("x-hub-signature", "sha1=", hash="sha1"),
    "jira": Signature("x-hub-signature", "sha256="),
    "launch_darkly": Signature("x-ld-signature"),
    "linear": Signature("linear-signature"),
    "pagerduty": Signature("x-pagerduty-signature", "v1="),
    "pusher": Signature("x-pusher-signature"),
    "sentry": Signature("sentry-hook-signature"),
    "shopify": Signature("x-shopify-hmac-sha256", encoding="base64"),
    "slack": Signature(
        "x-slack-signature",
        "v0=",
        signed=("=v0:", "timestamp", "=:", "body"),
        timestamp="x-slack-request-timestamp",
    ),
    "square": Signature("x-square-hmacsha256-signature", encoding="base64", signed=("url", "body")),
    "stripe": Signature("stripe-signature", signed=_PAIRED, timestamp="t", pairs="v1"),
    "svix": _SVIX,
    "terraform": Signature("x-tfe-notification-signature", hash="sha512"),
    "typeform": Signature("typeform-signature", "sha256=", encoding="base64"),
    "whatsapp": _META,
    "xero": Signature("x-xero-signature", encoding="base64"),
    "zendesk": Signature(
        "x-zendesk-webhook-signature",
        encoding="base64",
        signed=("timestamp", "body"),
        timestamp="x-zendesk-webhook-signature-timestamp",
    ),
    "zoom": Signature(
        "x-zm-signature", "v0=", signed=("=v0:", "timestamp", "=:", "body"), timestamp="x-zm-request-timestamp"
    ),
}
_TOKENS: Final = {"gitlab": "x-gitlab-token"}
"""Senders that show the secret itself."""
VERIFIED: Final = tuple(sorted({*SIGNATURES, *_TOKENS}))


def _verify_webhook(config: VerifyWebhook) -> Compiled:
    shared: dict[str, LuaValue] = {"secret": text(config.secret), "enforce": config.enforce, "tolerance": TOLERANCE}
    if (header := _TOKENS.get(config.provider)) is not None:
        return Compiled({**shared, "token": header})
    signature = SIGNATURES.get(config.provider)
    if signature is None:
        known = ", ".join(VERIFIED)
        raise PorticoError(NOT_SERVED, f"this edge cannot verify webhooks of {config.provider}, only of {known}")
    return Compiled({**shared, "signature": signature.lua()}, waits=True)


COMPILERS: Final[Mapping[str, Compiler]] = {VerifyWebhook.TYPE: _verify_webhook}
