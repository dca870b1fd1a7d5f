"""The older options of an HTTP endpoint as rules of a policy, which run before the policy that the owner has written.

They come from flags, configuration files and every SDK of ngrok's; what they mean is in
https://ngrok.com/docs/agent/cli/ and in the SDKs' references.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from portico.model.errors import BIND_INVALID, PorticoError
from portico.tunnel.messages import BindOptions

Phases = dict[str, list[Mapping[str, Any]]]


def option_policy(options: BindOptions) -> Phases:
    """Their rules by phase; none where no such option is on. Raises PorticoError(BIND_INVALID)."""
    request = [
        *_user_agents(options.user_agent_filter),
        *_configured("circuit-breaker", options.circuit_breaker),
        *_webhook(options.webhook_verification),
        *_passwords(options),
        *_sign_in("oauth", "oauth", options.oauth),
        *_sign_in("openid-connect", "oidc", options.oidc),
        *_headers(_without_host(options.request_headers)),
    ]
    response = [*_headers(options.response_headers)]
    if options.compression is not None:
        response.append(_rule("compress-response", {}))
    phases = {"on_http_request": request, "on_http_response": response}
    return {phase: rules for phase, rules in phases.items() if rules}


def host_header(options: BindOptions) -> str | None:
    """SDKs write their `host_header` option as an added request header."""
    hosts = [value for name, value in _added(options.request_headers) if name == "host"]
    return hosts[-1] if hosts else None


def _rule(kind: str, config: Mapping[str, Any], *expressions: str) -> Mapping[str, Any]:
    return {"expressions": list(expressions), "actions": [{"type": kind, "config": config}]}


def _configured(kind: str, given: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if given is not None:
        yield _rule(kind, {key: value for key, value in given.items() if value})


def _user_agents(given: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Who is allowed by name comes in; of all others nobody who is denied, or nobody where only `allow` says who."""
    if given is None:
        return
    allow, deny = (_texts(given.get(key), f"the user agent filter's {key}") for key in ("allow", "deny"))
    allowed = " || ".join(f"req.user_agent.matches({_quoted(one)})" for one in allow) or "false"
    denied = " || ".join(f"req.user_agent.matches({_quoted(one)})" for one in deny) or "true"
    if allow or deny:
        yield _rule("deny", {}, f"!({allowed})", denied)


def _webhook(given: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if given is not None:
        config = {"provider": given.get("provider", ""), "secret": _literal(given.get("secret", ""))}
        yield _rule("verify-webhook", config)


def _passwords(options: BindOptions) -> Iterator[Mapping[str, Any]]:
    given = (options.basic_auth or {}).get("credentials")
    pairs = [_pair(one) for one in given] if isinstance(given, list) else []
    pairs += [options.auth] if options.auth else []
    if pairs:
        yield _rule("basic-auth", {"credentials": [_literal(pair) for pair in pairs]})
    elif options.basic_auth is not None:
        raise PorticoError(BIND_INVALID, "basic auth was asked for without credentials")


def _pair(given: object) -> str:
    if not isinstance(given, Mapping):
        raise PorticoError(BIND_INVALID, "basic auth has credentials that are no objects")
    return f"{given.get('username', '')}:{given.get('cleartext_password', '')}"


def _sign_in(kind: str, result: str, given: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if given is None:
        return
    texts = {key: given[key] for key in ("provider", "issuer_url", "client_id", "client_secret") if given.get(key)}
    scopes = _texts(given.get("scopes"), f"{result}'s scopes")
    yield _rule(
        kind, {**{key: _literal(value) for key, value in texts.items()}, **({"scopes": scopes} if scopes else {})}
    )
    emails = [one.lower() for one in _texts(given.get("allow_emails"), f"{result}'s allow_emails")]
    domains = [one.lower() for one in _texts(given.get("allow_domains"), f"{result}'s allow_domains")]
    if emails or domains:
        email = f"actions.ngrok.{result}.identity.email.lowerAscii()"
        tests = [f"{email} == {_quoted(one)}" for one in emails]
        tests += [f"{email}.endsWith({_quoted('@' + one.removeprefix('@'))})" for one in domains]
        yield _rule("deny", {}, f"!({' || '.join(tests)})")


def _headers(given: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """An action takes ten headers of different names; more are more actions."""
    removed = _texts((given or {}).get("remove"), "the headers to remove")
    for start in range(0, len(removed), 10):
        yield _rule("remove-headers", {"headers": removed[start : start + 10]})
    for name, value in _added(given):
        yield _rule("add-headers", {"headers": {name: _literal(value)}})


def _without_host(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """`host` is `Endpoint.host_header`."""
    if given is None:
        return None
    lines = [line for line in _texts(given.get("add"), "the headers to add") if _name(line) != "host"]
    return {**given, "add": lines}


def _added(given: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    lines = _texts((given or {}).get("add"), "the headers to add")
    if wrong := next((line for line in lines if ":" not in line), None):
        raise PorticoError(BIND_INVALID, f"a header to add is written name:value, not {wrong[:60]!r}")
    return [(_name(line), line.partition(":")[2].strip()) for line in lines]


def _name(line: str) -> str:
    return line.partition(":")[0].strip().lower()


def _texts(given: object, what: str) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, Iterable) or isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise PorticoError(BIND_INVALID, f"{what} must be a list of texts")
    return list(given)


def _literal(value: object) -> object:
    """A text that means itself, where the language would look for expressions."""
    return value.replace("${", "${'${'}") if isinstance(value, str) else value


def _quoted(text: str) -> str:
    """A string literal of CEL."""
    escaped = "".join(char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
    return f'"{escaped}"'
