"""Tokens of jwt-validation: every algorithm, every claim, and every way to pass off what is not one."""

import hmac
import json
import time
import warnings
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from kit.gate import Clock, asked_gate
from kit.identity_provider import IdentityProvider, identity_provider
from portico.gate.key_sets import read_keys
from portico.gate.tokens import TokenError, read_token

ALGORITHMS = [
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]


@pytest.fixture
async def provider():
    async with identity_provider() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gate(tmp_path: Path, clock: Clock):
    async with asked_gate(tmp_path, clock=clock) as client:
        yield client


def claims(provider: IdentityProvider, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {"iss": provider.url, "aud": "api", "sub": "7", "iat": now, "exp": now + 600, **changed}
    return {name: value for name, value in found.items() if value is not None}


async def asked(gate: Any, provider: IdentityProvider, *tokens: str, kind: str = "jwt", **changed: Any) -> Any:
    question = {
        "tokens": [{"text": token, "type": kind} for token in tokens],
        "issuers": [provider.url],
        "audiences": ["api", "other"],
        "algorithms": ["RS256"],
        "key_sets": [f"{provider.url}/keys"],
        **changed,
    }
    answer = await gate.post("/tokens", json=question)
    assert answer.status_code == 200
    return answer.json()


def _key(algorithm: str) -> Any:
    match algorithm[:2]:
        case "HS":
            return OctKey.generate_key(512)
        case "ES":
            return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
        case "Ed":
            return OKPKey.generate_key("Ed25519")
        case _:
            return RSAKey.generate_key(2048)


def _signed(header: dict[str, Any], payload: dict[str, Any], key: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode(header, payload, key, algorithms=[header["alg"]])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm(gate: Any, provider: IdentityProvider, algorithm: str) -> None:
    key = _key(algorithm)
    provider.key_set = KeySet([key]).as_dict(private=algorithm.startswith("HS"))
    token = _signed({"alg": algorithm, "kid": key.kid}, claims(provider), key)
    answer = await asked(gate, provider, token, algorithms=[algorithm])
    assert answer["passed"], answer
    assert answer["results"]["tokens"][0]["payload"]["sub"] == "7"
    assert answer["results"]["tokens"][0]["header"]["alg"] == algorithm
    assert (await asked(gate, provider, token, algorithms=["none-other"]))["status"] == 401


async def test_says_until_when_it_may_be_believed(gate: Any, provider: IdentityProvider) -> None:
    token = provider.signed(claims(provider, exp=int(time.time()) + 60))
    assert (await asked(gate, provider, token))["until"] - time.time() <= 90
    token = provider.signed(claims(provider, exp=int(time.time()) + 86_400))
    assert (await asked(gate, provider, token))["until"] - time.time() <= 300


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"exp": 1}, "has expired"),
        ({"exp": "soon"}, "no time"),
        ({"exp": True}, "no time"),
        ({"nbf": 4_102_444_800}, "not good yet"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "elsewhere"}, "audience"),
        ({"aud": ["a", "b"]}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {"api": True}}, "aud is malformed"),
    ],
)
async def test_claims_that_do_not_fit(
    gate: Any, provider: IdentityProvider, changed: dict[str, Any], words: str
) -> None:
    answer = await asked(gate, provider, provider.signed(claims(provider, **changed)))
    assert answer["status"] == 401
    assert words in answer["body"]


async def test_clocks_may_differ_a_little(gate: Any, provider: IdentityProvider) -> None:
    now = int(time.time())
    assert (await asked(gate, provider, provider.signed(claims(provider, exp=now - 5, nbf=now + 5))))["passed"]


async def test_one_of_several_audiences_is_enough(gate: Any, provider: IdentityProvider) -> None:
    assert (await asked(gate, provider, provider.signed(claims(provider, aud=["x", "other"]))))["passed"]
    assert (await asked(gate, provider, provider.signed(claims(provider, aud=None)), audiences=[]))["passed"]


async def test_none_is_no_algorithm(gate: Any, provider: IdentityProvider) -> None:
    header = urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    payload = urlsafe_b64encode(json.dumps(claims(provider)).encode()).decode().rstrip("=")
    for algorithms in (["RS256"], ["none", "RS256"]):
        answer = await asked(gate, provider, f"{header}.{payload}.", algorithms=algorithms)
        assert answer["status"] == 401


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def test_a_public_key_is_no_shared_secret(gate: Any, provider: IdentityProvider) -> None:
    """RFC 8725, 2.1: a token signed by HMAC with the text of the RSA key."""
    public = provider.keys[0]
    for secret in (public.as_pem(private=False), json.dumps(public.as_dict(private=False)).encode()):
        signed = ".".join(_part(value) for value in ({"alg": "HS256", "kid": "one"}, claims(provider)))
        signature = urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).decode().rstrip("=")
        token = f"{signed}.{signature}"
        answer = await asked(gate, provider, token, algorithms=["HS256", "RS256"])
        assert answer["status"] == 401


async def test_a_key_is_good_for_its_own_algorithm_alone(gate: Any, provider: IdentityProvider) -> None:
    key = RSAKey.import_key({**provider.keys[0].as_dict(private=True), "alg": "RS512"})
    provider.served_keys = [key]
    assert (await asked(gate, provider, provider.signed(claims(provider))))["status"] == 401


async def test_a_short_rsa_key_is_none(gate: Any, provider: IdentityProvider) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = RSAKey.generate_key(1024, {"kid": "one"})
    provider.keys, provider.served_keys = [weak], [weak]
    assert (await asked(gate, provider, provider.signed(claims(provider))))["status"] == 401


async def test_a_token_that_brings_its_own_key_is_refused(gate: Any, provider: IdentityProvider) -> None:
    own = RSAKey.generate_key(2048)
    for header in ({"jwk": own.as_dict(private=False)}, {"jku": f"{provider.url}/elsewhere"}, {"kid": "../../one"}):
        token = jwt.encode({"alg": "RS256", **header}, claims(provider), own)
        assert (await asked(gate, provider, token))["status"] == 401


async def test_a_jku_that_is_allowed_is_used(gate: Any, provider: IdentityProvider) -> None:
    token = provider.signed(claims(provider), jku=f"{provider.url}/keys")
    assert (await asked(gate, provider, token, key_sets=[f"{provider.url}/absent", f"{provider.url}/keys"]))["passed"]


async def test_unknown_extensions_are_refused(gate: Any, provider: IdentityProvider) -> None:
    parts = provider.signed(claims(provider)).split(".")
    header = urlsafe_b64encode(b'{"alg":"RS256","kid":"one","crit":["x"],"x":1}').decode().rstrip("=")
    assert (await asked(gate, provider, ".".join([header, *parts[1:]])))["status"] == 401


@pytest.mark.parametrize(
    ("kind", "typ", "passes"),
    [
        ("at+jwt", "at+jwt", True),
        ("at+jwt", "application/at+JWT", True),
        ("at+jwt", "JWT", False),
        ("id_token", "at+jwt", False),
        ("id_token", "JWT", True),
        ("access_token", "it+jwt", False),
        ("access_token", "at+jwt", True),
        ("jwt", "secevent+jwt", False),
        ("plain", "whatever", True),
    ],
)
async def test_a_token_of_one_kind_is_none_of_another(
    gate: Any, provider: IdentityProvider, kind: str, typ: str, passes: bool
) -> None:
    answer = await asked(gate, provider, provider.signed(claims(provider), typ=typ), kind=kind)
    assert answer["passed"] is passes


async def test_only_plain_tokens_may_never_end(gate: Any, provider: IdentityProvider) -> None:
    token = provider.signed(claims(provider, exp=None))
    assert (await asked(gate, provider, token, kind="access_token"))["status"] == 401
    assert (await asked(gate, provider, token, kind="jwt"))["passed"]


async def test_all_tokens_must_be_good(gate: Any, provider: IdentityProvider) -> None:
    good = provider.signed(claims(provider))
    assert (await asked(gate, provider, good, good))["passed"]
    assert (await asked(gate, provider, good, good[:-4] + "AAAA"))["status"] == 401


async def test_keys_rotate(gate: Any, provider: IdentityProvider, clock: Clock) -> None:
    old = provider.signed(claims(provider))
    assert (await asked(gate, provider, old))["passed"]
    provider.rotate()
    clock.ahead = 11
    assert (await asked(gate, provider, provider.signed(claims(provider))))["passed"]
    assert (await asked(gate, provider, old))["status"] == 401


async def test_keys_rotate_where_tokens_name_none(gate: Any, provider: IdentityProvider, clock: Clock) -> None:
    assert (await asked(gate, provider, provider.signed(claims(provider))))["passed"]
    provider.rotate()
    clock.ahead = 11
    token = jwt.encode({"alg": "RS256"}, claims(provider), provider.keys[0])
    assert (await asked(gate, provider, token))["passed"]
    assert (await asked(gate, provider, token, by_kid=True))["status"] == 401


async def test_keys_are_kept_while_their_source_fails_but_not_for_ever(
    gate: Any, provider: IdentityProvider, clock: Clock
) -> None:
    def token() -> str:
        return provider.signed(claims(provider, exp=int(clock()) + 600))

    assert (await asked(gate, provider, token()))["passed"]
    provider.down = True
    clock.ahead = 3600
    assert (await asked(gate, provider, token()))["passed"]
    clock.ahead = 7 * 3600
    answer = await asked(gate, provider, token())
    assert answer["status"] == 502


async def test_without_keys_nobody_passes(gate: Any, provider: IdentityProvider) -> None:
    provider.down = True
    answer = await asked(gate, provider, provider.signed(claims(provider)))
    assert answer["status"] == 502
    provider.asked.clear()
    await asked(gate, provider, provider.signed(claims(provider)))
    assert provider.asked == []


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
@settings(max_examples=50)
def test_anything_may_be_sent_as_a_token(text: str) -> None:
    with pytest.raises(TokenError):
        read_token(text, ["RS256"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
@settings(max_examples=50)
def test_anything_may_be_in_a_header_and_in_claims(value: Any) -> None:
    part = urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    header = urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": value, "typ": value}).encode()).decode().rstrip("=")
    payload = urlsafe_b64encode(json.dumps({"exp": value, "aud": value, "nbf": value}).encode()).decode().rstrip("=")
    for text in (f"{part}.{part}.x", f"{header}.{payload}.x"):
        try:
            read_token(text, ["RS256"])
        except TokenError:
            continue


@given(st.binary(max_size=200) | st.just(b'{"keys": [1, null, {}, {"kty": "RSA"}, {"kty": "EC", "crv": 7}]}'))
def test_anything_may_be_served_as_keys(body: bytes) -> None:
    try:
        assert read_keys(body) == ()
    except ValueError:
        return


def test_deep_json_is_no_key_set() -> None:
    with pytest.raises(ValueError, match="no key set"):
        read_keys(b"[" * 100_000)


def test_encryption_keys_sign_nothing() -> None:
    key = RSAKey.generate_key(2048, {"use": "enc"}).as_dict(private=False)
    assert read_keys(json.dumps({"keys": [key]}).encode()) == ()
