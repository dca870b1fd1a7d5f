"""Policies of endpoints of tcp and tls: what they may have, and which of them say no more than who may connect."""

from collections.abc import Iterator, Sequence

from portico.model.endpoint import NOBODY, EndpointUrl, Networks, Scheme, both
from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.actions import ForwardInternal, RestrictIps, TerminateTls
from portico.policy.document import Action, Policy, Rule
from portico.policy.functions.addresses import network
from portico.policy.phases import Phase


def refuse_what_bytes_have_not(policies: Sequence[Policy], scheme: Scheme) -> None:
    """Raises PorticoError(NOT_SERVED) for rules of HTTP, and for a way to an endpoint of HTTP."""
    for rule, action in _actions(policies):
        if rule.phase is not Phase.TCP_CONNECT and not isinstance(action.config, TerminateTls):
            raise PorticoError(NOT_SERVED, f"{rule.place}: an endpoint of {scheme} has no requests of HTTP")
        if isinstance(action.config, ForwardInternal) and (url := action.config.url.literal):
            target = EndpointUrl.parse(url)
            if target.scheme not in (Scheme.TCP, Scheme.TLS):
                raise PorticoError(
                    NOT_SERVED, f"{action.place}: an endpoint of {scheme} leads to tcp or tls, not to {target.scheme}"
                )


def is_of_networks(policies: Sequence[Policy]) -> bool:
    """Whether they only say which networks may connect, which a filter chain can tell apart without a question."""
    return all(
        isinstance(action.config, TerminateTls)
        or (isinstance(action.config, RestrictIps) and not rule.expressions and _is_literal(action.config))
        for rule, action in _actions(policies)
    )


def networks_of_bytes(policies: Sequence[Policy]) -> Networks | None:
    """Who may connect by policies that say no more."""
    found: Networks | None = None
    for _, action in _actions(policies):
        if isinstance(action.config, RestrictIps):
            found = both(found, _networks(action.config))
    return found


def _actions(policies: Sequence[Policy]) -> Iterator[tuple[Rule, Action]]:
    return ((rule, action) for policy in policies for rule in policy.all_rules() for action in rule.actions)


def _is_literal(config: RestrictIps) -> bool:
    return not config.ip_policies and all(one.literal for one in (*config.allow, *config.deny))


def _networks(config: RestrictIps) -> Networks | None:
    allow, deny = (
        tuple(str(network(one.literal)) for one in listed if one.literal) for listed in (config.allow, config.deny)
    )
    # Without a list of whom to let in, restrict-ips lets nobody in.
    return Networks(allow or NOBODY, deny) if config.enforce else None
