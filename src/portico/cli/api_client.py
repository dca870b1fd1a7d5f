"""One call of an edge's REST API, with what `portico api` knows: the address, the key, and whom to trust."""

import http.client
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from portico.agent.dial_reason import explain
from portico.agent.edge_address import EdgeAddress, edge_context
from portico.agent.names import is_loopback_name
from portico.model.errors import API_REFUSED, API_UNREACHABLE, EDGE_UNTRUSTED, OPTION_INVALID, PorticoError, all_codes
from portico.model.names import is_ip

if TYPE_CHECKING:
    from portico.model.errors import ErrorCode

TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Where the API is and who calls."""

    url: str
    """`https://api.<domain>[:port]`."""
    api_key: str = field(repr=False)
    cas: str = ""
    """Who may sign its certificate: as `connect_cas`."""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        """What the API answers; None where it says nothing.

        Raises PorticoError: API_UNREACHABLE, EDGE_UNTRUSTED, CERTIFICATE_INVALID, or the code that the API answers.
        """
        headers = {"Authorization": f"Bearer {self.api_key}", "ngrok-version": "2", "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        target = f"/{path}?{urlencode(query, doseq=True)}" if query else f"/{path}"
        connection = self._connection()
        try:
            connection.request(method, target, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except ssl.SSLCertVerificationError as error:
            raise PorticoError(
                EDGE_UNTRUSTED, f"{self.url}: {error.verify_message}", fix="Give the edge's ca.pem with --api-cas."
            ) from None
        except OSError as error:
            raise PorticoError(API_UNREACHABLE, f"cannot reach the API at {self.url}: {explain(error)[1]}") from None
        except http.client.HTTPException as error:
            raise PorticoError(API_UNREACHABLE, f"no API answers at {self.url}: {type(error).__name__}") from None
        finally:
            connection.close()
        return _understood(answer.status, text)

    def _connection(self) -> http.client.HTTPSConnection:
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
            parts = urlsplit("")
        if parts.scheme != "https" or not host:
            raise PorticoError(OPTION_INVALID, f"--api-url: {self.url!r} is not https:// and a host")
        return _Connection(host, port, timeout=TIMEOUT, context=edge_context(self.cas, option="--api-cas"))


class _Connection(http.client.HTTPSConnection):
    def connect(self) -> None:
        """As usual, but names of this machine lead to this machine on systems that resolve none of them."""
        name = self.host
        if is_loopback_name(name):
            self.host = "127.0.0.1"
        try:
            http.client.HTTPConnection.connect(self)
        finally:
            self.host = name
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=name)


def default_api_url(connect_url: str) -> str:
    """The API's address of the edge whose agents dial `connect_url`. Raises PorticoError(OPTION_INVALID)."""
    address = EdgeAddress.parse(connect_url)
    if is_ip(address.host):
        fix = "Name its API: --api-url https://api.DOMAIN[:PORT]."
        raise PorticoError(OPTION_INVALID, f"the edge is only known as {address}", fix=fix)
    domain = address.host.removeprefix("connect.")
    return f"https://{EdgeAddress(f'api.{domain}', address.port)}"


def _understood(status: int, text: bytes) -> Any:
    try:
        answer = json.loads(text) if text else None
    except ValueError:
        raise PorticoError(
            API_REFUSED, f"the answer (status {status}) is no JSON; is this the API of an edge?"
        ) from None
    if status < 400:
        return answer
    facts = answer if isinstance(answer, dict) else {}
    details = facts.get("details")
    details = details if isinstance(details, dict) else {}
    code: ErrorCode = next((one for one in all_codes() if str(one) == details.get("portico_code")), API_REFUSED)
    message = str(facts.get("msg") or f"status {status}")
    raise PorticoError(code, message, fix=str(details.get("fix") or code.fix))
