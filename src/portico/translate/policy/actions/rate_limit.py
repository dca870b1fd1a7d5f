"""`rate-limit`, for a key that the runtime makes: counted by Envoy's local rate limit, which all its workers share.

Where nodes share a store they count together instead, which the runtime asks the gate to do.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from portico.model.errors import LIMITS_APART
from portico.policy.actions.rate_limit import RateLimit
from portico.translate.policy.actions.compiled import Compiled, NativeCompiler
from portico.translate.policy.actions.values import expression
from portico.translate.policy.together import Together
from portico.translate.typed import Body, extension

KEYS: Final = 100_000
"""Keys that one action remembers; the one that was silent longest is forgotten first."""
_ALWAYS: Final = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_NEVER: Final = {"default_value": {"numerator": 0, "denominator": "HUNDRED"}}
_MOST: Final = 4_294_967_295


def _rate_limit(config: RateLimit, place: str) -> Compiled:
    name = hashlib.sha256(place.encode()).hexdigest()[:12]
    key, limited = f"x-edge-limit-{name}", f"x-edge-limited-{name}"
    return Compiled(
        {"key": [expression(part) for part in config.bucket_key], "header": key},
        filters=(_filter(config, key, limited),),
        then={"header": key, "limited": limited},
    )


def together(config: RateLimit, place: str, among: Together) -> Compiled:
    """Counted with the other nodes of `among`."""
    seconds = int(config.rate.total_seconds())
    said = [config.name, config.algorithm, config.capacity, seconds, config.bucket_key, config.enforce]
    limit = json.dumps([among.endpoint, place, *said])
    return Compiled(
        {
            "key": [expression(part) for part in config.bucket_key],
            "limit": hashlib.sha256(limit.encode()).hexdigest()[:32],
            "capacity": config.capacity,
            "seconds": seconds,
            "share": among.counts.of_a_worker(config.capacity),
            "enforce": config.enforce,
            "apart": f"{LIMITS_APART} {LIMITS_APART.title}",
        },
        waits=True,
    )


def _filter(config: RateLimit, key: str, limited: str) -> Body:
    """A request without the header, because the action did not run, has no descriptor and meets a limit of none."""
    bucket = {
        "max_tokens": config.capacity,
        "tokens_per_fill": config.capacity,
        "fill_interval": f"{config.rate.total_seconds():g}s",
    }
    none = {"max_tokens": _MOST, "tokens_per_fill": _MOST, "fill_interval": "1s"}
    by_key = {"request_headers": {"header_name": key, "descriptor_key": "key", "skip_if_absent": False}}
    told = {"header": {"key": limited, "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return extension(
        key,
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="policy",
        token_bucket=none,
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS if config.enforce else _NEVER,
        request_headers_to_add_when_not_enforced=[told],
        rate_limits=[{"actions": [by_key]}],
        descriptors=[{"entries": [{"key": "key"}], "token_bucket": bucket}],
        max_dynamic_descriptors=KEYS,
        enable_retry_after_header=True,
    )


COMPILERS: Final[Mapping[str, NativeCompiler]] = {RateLimit.TYPE: _rate_limit}
