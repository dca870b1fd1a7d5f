"""The conversation with one certificate authority (RFC 8555). Calls block on the network: run them in a thread."""

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from acme import errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.errors import Error as JoseError
from josepy.json_util import JSONObjectWithFields, field
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from portico.certificates.acme_rules import AcmeDirectory
from portico.model.acme import AcmeAccount
from portico.version import __version__

log = logging.getLogger(__name__)

_NONCE_TRIES: Final = 10
"""An authority may refuse any nonce (RFC 8555, 6.5), and a restarted one refuses all that were kept."""
_REQUEST_SECONDS: Final = 30
RETRY_SECONDS: Final = 3_600
"""Rest after a rate limit that names no time."""


class AcmeError(Exception):
    """Why there is no certificate, in words for the operator; `retry_at` is when the authority may be asked again."""

    def __init__(self, message: str, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


@dataclass(frozen=True, slots=True)
class Offer:
    """A challenge that the authority offers for a name."""

    kind: str
    url: str
    token: str
    answer: str
    """The key authorization."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the authority wants to see for one name before it issues."""

    url: str
    host: str
    """Without `*.`."""
    status: str
    offers: tuple[Offer, ...]
    problem: str
    """Why it has failed."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order and its state."""

    status: str
    authorizations: tuple[str, ...]
    problem: str
    resource: messages.OrderResource


class _NewOrder(messages.NewOrder):
    replaces: str = field("replaces", omitempty=True)


class _Empty(JSONObjectWithFields):
    """The `{}` that says that a challenge is ready (RFC 8555, 7.5.1)."""

    def __bool__(self) -> bool:
        return True  # the library sends what is false as an empty body, which is a mere look


class _Network(ClientNetwork):
    """HTTP that remembers the last response, since errors come without their header fields."""

    last: requests.Response | None = None

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        self.last = super()._send_request(method, url, *args, **kwargs)
        return self.last

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """POST, again with another nonce where the authority wants one."""
        for _ in range(_NONCE_TRIES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
                self._nonces.clear()
        return self._post_once(*args, **kwargs)

    def retry_at(self) -> datetime | None:
        """What Retry-After of the last response says (RFC 9110, 10.2.3)."""
        value = self.last.headers.get("Retry-After") if self.last is not None else None
        if value is None:
            return None
        if value.isdigit():
            return datetime.now(UTC) + timedelta(seconds=min(int(value), 30 * 86_400))
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Client(ClientV2):
    def order(self, names: tuple[str, ...], profile: str, replaces: str) -> requests.Response:
        """`newOrder`, with what the library does not send: the certificate that this one replaces (RFC 9773, 5)."""
        identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names]
        order = _NewOrder(identifiers=identifiers, profile=profile, replaces=replaces or None)
        return self._post(self.directory["newOrder"], order)

    def ask(self, url: str) -> requests.Response:
        """POST-as-GET."""
        return self._post_as_get(url)

    def say_ready(self, url: str) -> None:
        """Let the authority look."""
        self._post(url, _Empty())


class AcmeSession:
    """The edge at one authority. Not for several threads at once."""

    def __init__(self, directory: AcmeDirectory, email: str, account: AcmeAccount | None) -> None:
        self._directory = directory
        self._email = email
        kept = account if account is not None and account.key_id == directory.eab_kid else None
        pem = kept.key if kept else _new_key()
        self._key_pem = pem
        self._key = JWKEC.load(pem.encode())
        self._network = _Network(
            self._key,
            alg=ES256,
            verify_ssl=directory.ca_file or True,  # type: ignore[arg-type]  # requests takes a path as well
            user_agent=f"portico/{__version__}",
            timeout=_REQUEST_SECONDS,
        )
        self._account = kept
        with self._explained():
            self._client = _Client(ClientV2.get_directory(directory.url, self._network), self._network)
        if kept is not None:
            self._network.account = messages.RegistrationResource(uri=kept.uri, body=messages.Registration())

    def account(self) -> AcmeAccount:
        """The account there, made or found by its key where it is not known. Raises AcmeError."""
        if self._account is None:
            with self._explained():
                uri = self._register()
            self._account = AcmeAccount(self._directory.url, self._directory.eab_kid, uri, self._key_pem)
            log.info("has an account at a certificate authority", extra={"directory": self._directory.url})
        return self._account

    def new_order(self, names: tuple[str, ...], replaces: str = "") -> Order:
        """Order a certificate; `replaces` is the id of the one that it follows. Raises AcmeError."""
        with self._explained():
            try:
                response = self._client.order(names, self._directory.profile, replaces)
            except errors.ConflictError:  # replaced already, by an order that was lost (RFC 9773, 5)
                response = self._client.order(names, self._directory.profile, "")
            except messages.Error as error:
                response = self._order_again(names, replaces, error)
            return _order(response.json(), response.headers["Location"])

    def _order_again(self, names: tuple[str, ...], replaces: str, error: messages.Error) -> requests.Response:
        """Order once more without what the authority may have stumbled over; raises `error` where that is nothing."""
        if error.code == "accountDoesNotExist":
            # It has forgotten us; the same key is registered again.
            self._account = self._network.account = None
            self.account()
            return self._client.order(names, self._directory.profile, replaces)
        if replaces and error.code != "rateLimited":
            # The mention is a courtesy, and one that is not understood would fail every renewal to come: Pebble does
            # not find the orders of some serial numbers.
            return self._client.order(names, self._directory.profile, "")
        raise error

    def authorization(self, url: str) -> tuple[Authorization, float]:
        """An authorization as it is now, and seconds until it is worth another look. Raises AcmeError."""
        with self._explained():
            body = self._client.ask(url).json()
            return self._authorization(body, url), self._pause()

    def answer(self, offer: Offer) -> None:
        """Tell the authority that the challenge can be looked at. Raises AcmeError."""
        with self._explained():
            self._client.say_ready(offer.url)

    def finalize(self, order: Order, csr: bytes) -> None:
        """Hand in the request (PEM) for an order whose names are authorized. Raises AcmeError."""
        with self._explained():
            self._client.begin_finalization(order.resource.update(csr_pem=csr))

    def order(self, order: Order) -> tuple[Order, float]:
        """The order as it is now, and seconds until it is worth another look. Raises AcmeError."""
        with self._explained():
            url = str(order.resource.uri)
            return _order(self._client.ask(url).json(), url), self._pause()

    def chain(self, order: Order) -> str:
        """The certificate chain of a valid order, PEM. Raises AcmeError."""
        with self._explained():
            return str(self._client.ask(str(order.resource.body.certificate)).text)

    def renewal_window(self, chain: str) -> tuple[tuple[datetime, datetime] | None, datetime | None]:
        """When the authority suggests to renew (RFC 9773), None where it suggests nothing; and when to ask again."""
        base = self._client.directory.to_partial_json().get("renewalInfo")
        if not base:
            return None, None
        with self._explained():
            body = self._network.get(f"{base}/{certificate_id(chain)}").json()
            window = body["suggestedWindow"]
            start, end = (datetime.fromisoformat(window[key]) for key in ("start", "end"))
            return (start, max(start, end)), self._network.retry_at()

    def _register(self) -> str:
        binding = None
        if self._directory.eab_kid:
            binding = messages.ExternalAccountBinding.from_data(
                self._key.public_key(), self._directory.eab_kid, self._directory.eab_hmac_key, self._client.directory
            )
        wanted = messages.NewRegistration.from_data(
            email=self._email or None, terms_of_service_agreed=True, external_account_binding=binding
        )
        try:
            return str(self._client.new_account(wanted).uri)
        except errors.ConflictError as known:
            self._network.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
            return str(known.location)

    def _authorization(self, body: dict[str, Any], url: str) -> Authorization:
        thumbprint = base64.urlsafe_b64encode(self._key.thumbprint()).rstrip(b"=").decode()
        offers = tuple(
            Offer(one["type"], one["url"], one["token"], f"{one['token']}.{thumbprint}")
            for one in body["challenges"]
            if "token" in one
        )
        problems = [_problem(one["error"]) for one in body["challenges"] if "error" in one]
        return Authorization(url, body["identifier"]["value"], body["status"], offers, "; ".join(problems))

    def _pause(self) -> float:
        moment = self._network.retry_at()
        return (moment - datetime.now(UTC)).total_seconds() if moment else 0.0

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Whatever goes wrong, one sentence: who, what, and from when on to try again."""
        who = urlsplit(self._directory.url).hostname
        try:
            yield
        except AcmeError:
            raise
        except messages.Error as error:
            limited = error.code == "rateLimited"
            later = datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS) if limited else None
            raise AcmeError(f"{who}: {_problem(error.to_partial_json())}", self._network.retry_at() or later) from None
        except requests.RequestException as error:
            raise AcmeError(f"{who}: cannot be reached ({type(error).__name__})") from None
        except (errors.Error, JoseError, ValueError, KeyError, TypeError) as error:
            status = self._network.last.status_code if self._network.last is not None else None
            retry_at = self._network.retry_at() if status in (429, 503) else None
            raise AcmeError(f"{who}: answered status {status} ({type(error).__name__})", retry_at) from None


def certificate_id(chain: str) -> str:
    """The unique identifier of a chain's leaf: authority key id and serial number (RFC 9773, 4.1)."""
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    serial = leaf.serial_number
    parts = (issuer, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _order(body: dict[str, Any], url: str) -> Order:
    resource = messages.OrderResource(body=messages.Order.from_json(body), uri=url)
    problem = _problem(body["error"]) if body.get("error") else ""
    return Order(body["status"], tuple(body["authorizations"]), problem, resource)


def _problem(error: dict[str, Any]) -> str:
    """An ACME problem document (RFC 8555, 6.7) as one line, with the problems of its names."""
    kind = str(error.get("type", "")).rpartition(":")[2]
    text = f"{kind}: {error.get('detail') or error.get('title') or 'no reason given'}"
    parts = [_problem(part) for part in error.get("subproblems") or () if isinstance(part, dict)]
    return " ".join("; ".join([text, *parts]).split())


def _new_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
