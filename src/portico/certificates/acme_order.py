"""One order from its names to a certificate chain: challenges put up, looked at, taken down (RFC 8555, 7.4)."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portico.certificates.acme_dns import dns_writer, record_name
from portico.certificates.acme_rules import AcmeRules
from portico.certificates.acme_session import AcmeError, AcmeSession, Authorization, Offer, Order
from portico.certificates.extensions import subject_alternative_name
from portico.daemon_thread import in_thread
from portico.model.acme import AcmeChallenge, ChallengeKind
from portico.model.endpoint import KeyPair

log = logging.getLogger(__name__)
_State = TypeVar("_State", Authorization, Order)

_FIRST_LOOK: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
LOOK_SECONDS: Final = 180.0
"""How long an authority may take to look at the challenges, and again to sign."""


class Stage(Protocol):
    """Where challenges are put up, so that every node of the edge answers them."""

    async def put(self, challenge: AcmeChallenge) -> None:
        """Answer it from now on."""

    async def remove(self, challenge: AcmeChallenge) -> None:
        """Answer it no more."""


async def obtain(
    session: AcmeSession, names: tuple[str, ...], kind: ChallengeKind, rules: AcmeRules, stage: Stage, replaces: str
) -> KeyPair:
    """A certificate for `names`, by challenges of one kind. Raises AcmeError."""
    order = await in_thread(session.new_order, names, replaces)
    async with AsyncExitStack() as afterwards:
        open_ones = []
        for url in order.authorizations:
            authorization, _ = await in_thread(session.authorization, url)
            if authorization.status != "valid":  # some authorities remember what they have seen
                open_ones.append((authorization, _offer(authorization, kind)))
        wait = [await _put_up(kind, one, offer, rules, stage, afterwards) for one, offer in open_ones]
        await asyncio.sleep(max(wait, default=0))
        for _, offer in open_ones:
            await in_thread(session.answer, offer)
        for authorization, _ in open_ones:
            await _until(partial(session.authorization, authorization.url), "the challenge", ("valid",))
    key, csr = _request(names)
    await _until(partial(session.order, order), "the order", ("ready", "processing", "valid"))
    await in_thread(session.finalize, order, csr)
    issued = await _until(partial(session.order, order), "the certificate", ("valid",))
    return KeyPair(await in_thread(session.chain, issued), key)


def _offer(authorization: Authorization, kind: ChallengeKind) -> Offer:
    for offer in authorization.offers:
        if offer.kind == kind:
            return offer
    offered = ", ".join(offer.kind for offer in authorization.offers) or "nothing"
    raise AcmeError(f"the authority offers {offered} for {authorization.host}, not {kind}")


async def _put_up(
    kind: ChallengeKind,
    authorization: Authorization,
    offer: Offer,
    rules: AcmeRules,
    stage: Stage,
    afterwards: AsyncExitStack,
) -> float:
    """Make the challenge answerable, and see that it is taken down; seconds until it can be looked at."""
    host = authorization.host
    if kind is not ChallengeKind.DNS:
        challenge = AcmeChallenge(kind, host, offer.token, offer.answer)
        await stage.put(challenge)
        afterwards.push_async_callback(stage.remove, challenge)
        return 0.0
    provider = rules.dns_for(host)
    if provider is None:
        raise AcmeError(f"no DNS provider is set for {host}")
    writer, name = dns_writer(provider), record_name(host)
    value = base64.urlsafe_b64encode(hashlib.sha256(offer.answer.encode()).digest()).rstrip(b"=").decode()
    await in_thread(writer.present, name, value)
    afterwards.push_async_callback(_clean, partial(writer.clean, name, value))
    return provider.wait_seconds


async def _clean(call: Callable[[], None]) -> None:
    try:
        await in_thread(call)
    except AcmeError as error:
        # A record too many harms nobody; the certificate is what counts.
        log.warning("a challenge's record stays behind", extra={"reason": str(error)})


async def _until(look: Callable[[], tuple[_State, float]], what: str, wanted: tuple[str, ...]) -> _State:
    """Look again and again, as often as the authority likes, until the state is one of `wanted`."""
    pause = _FIRST_LOOK
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            while True:
                state, asked = await in_thread(look)
                if state.status in wanted:
                    return state
                if state.status not in ("pending", "processing", "ready"):
                    raise AcmeError(f"{what} is {state.status}: {state.problem or 'no reason given'}")
                await asyncio.sleep(min(max(asked, pause), _LONGEST_PAUSE))
                pause *= 1.5
    except TimeoutError:
        raise AcmeError(f"{what} was not settled within {LOOK_SECONDS:g} s") from None


def _request(names: tuple[str, ...]) -> tuple[str, bytes]:
    """A new key and its certificate signing request, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(subject_alternative_name(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, request.public_bytes(Encoding.PEM)
