"""What actions do to whole messages, in a real Envoy: bodies, compression, signatures of webhooks."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from kit.curl import curl
from kit.policies import policy_text, rule
from kit.translated import Answer, TranslatedEdge, endpoint, read_answer, translated_edge
from portico.model.endpoint import UnixSocket

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "hush-hush"
_numbers = itertools.count()
Send = Callable[..., Awaitable[Answer]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echo(edge: TranslatedEdge) -> UnixSocket:
    """Answers with the body of the request; `x-type` says its type, and `x-encode` that it is to be packed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = await _read_request(reader)
                body = gzip.compress(asked.body) if "x-encode" in asked.headers else asked.body
                fields = f"content-type: {asked.headers.get('x-type', 'text/plain')}\r\n"
                fields += "content-encoding: gzip\r\n" if "x-encode" in asked.headers else ""
                fields += f"cache-control: {asked.headers['x-cache']}\r\n" if "x-cache" in asked.headers else ""
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{fields}\r\n"
                writer.write(head.encode() + body)
        writer.close()

    return await edge.serve(serve, "echo")


async def _read_request(reader: asyncio.StreamReader) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(0, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@pytest.fixture
def send(edge: TranslatedEdge, echo: UnixSocket) -> Callable[[str], Awaitable[Send]]:
    """Publishes an endpoint with a policy, and gives a function that sends a body to it."""

    async def publish(policy: str) -> Send:
        host = f"a{next(_numbers)}.edge.test"
        await edge.publish(endpoint(f"https://{host}", echo, traffic_policy=policy))

        async def one(body: bytes = b"", path: str = "/", **headers: str) -> Answer:
            reader, writer = await edge.open(host)
            fields = {"host": host, "connection": "close", "content-length": str(len(body))}
            fields |= {name.replace("_", "-"): value for name, value in headers.items()}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            try:
                return await read_answer(reader)
            finally:
                writer.close()

        return one

    return publish


async def test_bodies_are_changed_on_both_ways(send: Callable[[str], Awaitable[Send]]) -> None:
    one = await send(
        policy_text(
            rule(("request-body-find-replace", {"replacements": [{"from": "c(.)t", "to": "d-$1-"}]})),
            response=[
                rule(
                    (
                        "response-body-find-replace",
                        {"replacements": [{"from": "(?i)D-A-", "to": "longer ${req.method}"}]},
                    ),
                    when=["res.content_type == 'text/plain'"],
                )
            ],
        )
    )
    assert (await one(b"a cat")).body == b"a longer POST"
    assert (await one(b"a cat", x_type="image/png")).body == b"a d-a-"
    packed = await one(b"a cat", x_encode="1")
    assert gzip.decompress(packed.body) == b"a d-a-"
    assert (await one(b"")).body == b""


async def test_a_large_body(send: Callable[[str], Awaitable[Send]]) -> None:
    one = await send(policy_text(rule(("request-body-find-replace", {"replacements": [{"from": "x", "to": "yy"}]}))))
    body = b"abcx" * 50_000
    assert (await one(body)).body == body.replace(b"x", b"yy")


async def test_responses_are_compressed_where_the_rule_fires(send: Callable[[str], Awaitable[Send]]) -> None:
    one = await send(
        policy_text(response=[rule(("compress-response", {"algorithms": ["gzip"]}), when=["req.url.path == '/small'"])])
    )
    body = b"again and " * 1000
    small = await one(body, "/small", accept_encoding="gzip", x_cache="max-age=5")
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small.body) == body
    assert small.headers["cache-control"] == "max-age=5"
    for answer in (await one(body, "/small"), await one(body, "/large", accept_encoding="gzip")):
        assert answer.body == body
        assert "content-encoding" not in answer.headers
        assert "cache-control" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("x-edge-")]
    kept = await one(body, "/large", accept_encoding="gzip", x_cache="private")
    assert kept.headers["cache-control"] == "private"


LIMIT = {"name": "l", "algorithm": "sliding_window", "capacity": 2, "rate": "60s", "bucket_key": ["req.method"]}


async def test_what_comes_behind_an_action_that_waits(send: Callable[[str], Awaitable[Send]]) -> None:
    """Envoy goes on behind a composite when a filter within it has waited."""
    one = await send(
        policy_text(
            rule(("request-body-find-replace", {"replacements": [{"from": "cat", "to": "dog"}]})),
            rule(("rate-limit", LIMIT)),
            rule(("verify-webhook", {"provider": "github", "secret": SECRET, "enforce": False})),
            rule(("forward-internal", {"url": "https://gone.internal", "on_error": "continue"})),
            rule(("set-vars", {"vars": [{"seen": "${actions.ngrok.verify_webhook.verified}"}]})),
            response=[
                rule(("response-body-find-replace", {"replacements": [{"from": "dog", "to": "owl"}]})),
                rule(("compress-response", {"algorithms": ["gzip"]}), when=["req.url.path == '/small'"]),
                rule(("add-headers", {"headers": {"x-seen": "${vars.seen}"}})),
            ],
        )
    )
    small = await one(b"a cat " * 100, "/small", accept_encoding="gzip")
    assert gzip.decompress(small.body) == b"a owl " * 100
    large = await one(b"a cat " * 100, "/large", accept_encoding="gzip")
    assert large.body == b"a owl " * 100
    for answer in (small, large):
        assert answer.headers["x-seen"] == "false"
        assert not {"cache-control", "x-edge-cache-control"} & set(answer.headers)
    assert (await one(b"a cat")).status == 429


def mac(text: bytes, name: str = "sha256", key: bytes = SECRET.encode()) -> bytes:
    return hmac.new(key, text, name).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


BODY = b'{"event": "push"}'
SVIX_KEY = b"0123456789abcdef"
Signed = tuple[dict[str, str], str]


def signed(now: int) -> dict[str, Signed]:
    """By provider: the headers that it signs BODY with at this time, and the secret."""
    return {
        "github": ({"x_hub_signature_256": f"sha256={mac(BODY).hex()}"}, SECRET),
        "gitlab": ({"x_gitlab_token": SECRET}, SECRET),
        "heroku": ({"heroku_webhook_hmac_sha256": b64(mac(BODY))}, SECRET),
        "intercom": ({"x_hub_signature": f"sha1={mac(BODY, 'sha1').hex()}"}, SECRET),
        "pagerduty": ({"x_pagerduty_signature": f"v1={'00' * 32},v1={mac(BODY).hex()}"}, SECRET),
        "shopify": ({"x_shopify_hmac_sha256": b64(mac(BODY))}, SECRET),
        "slack": (
            {
                "x_slack_request_timestamp": str(now),
                "x_slack_signature": f"v0={mac(f'v0:{now}:'.encode() + BODY).hex()}",
            },
            SECRET,
        ),
        "stripe": ({"stripe_signature": f"t={now},v1={mac(f'{now}.'.encode() + BODY).hex()},v0=old"}, SECRET),
        "svix": (
            {
                "svix_id": "msg_1",
                "svix_timestamp": str(now),
                "svix_signature": f"v1,AAAA v1,{b64(mac(f'msg_1.{now}.'.encode() + BODY, key=SVIX_KEY))}",
            },
            f"whsec_{b64(SVIX_KEY)}",
        ),
        "terraform": ({"x_tfe_notification_signature": mac(BODY, "sha512").hex()}, SECRET),
        "typeform": ({"typeform_signature": f"sha256={b64(mac(BODY))}"}, SECRET),
    }


@pytest.mark.parametrize("provider", sorted(signed(0)))
async def test_signed_webhooks_pass_and_others_do_not(provider: str, send: Callable[[str], Awaitable[Send]]) -> None:
    headers, secret = signed(int(time.time()))[provider]
    one = await send(policy_text(rule(("verify-webhook", {"provider": provider, "secret": secret}))))
    assert (await one(BODY, **headers)).body == BODY
    assert (await one(BODY)).status == 403
    if provider != "gitlab":
        assert (await one(BODY + b" ", **headers)).status == 403
    other = await send(policy_text(rule(("verify-webhook", {"provider": provider, "secret": secret + "A"}))))
    assert (await other(BODY, **headers)).status == 403


async def test_an_old_signature_is_refused(send: Callable[[str], Awaitable[Send]]) -> None:
    one = await send(policy_text(rule(("verify-webhook", {"provider": "stripe", "secret": SECRET}))))
    old = int(time.time()) - 3600
    signature = f"t={old},v1={mac(f'{old}.'.encode() + BODY).hex()}"
    assert (await one(BODY, stripe_signature=signature)).status == 403


async def test_a_finding_that_is_not_enforced_is_left_to_later_rules(send: Callable[[str], Awaitable[Send]]) -> None:
    one = await send(
        policy_text(
            rule(("verify-webhook", {"provider": "github", "secret": SECRET, "enforce": False})),
            rule(("deny", {"status_code": 451}), when=["!actions.ngrok.verify_webhook.verified"]),
        )
    )
    assert (await one(BODY)).status == 451
    assert (await one(BODY, x_hub_signature_256=f"sha256={mac(BODY).hex()}")).body == BODY


async def test_a_hash_of_a_body_in_a_header(send: Callable[[str], Awaitable[Send]]) -> None:
    """Functions of the language are the runtime's own; here one that a person can compare."""
    one = await send(
        policy_text(rule(("custom-response", {"body": "${hash.sha256('abc')} ${base64.encode(bytes('é'))}"})))
    )
    assert (await one()).text == f"{hashlib.sha256(b'abc').hexdigest()} {b64('é'.encode())}"


async def test_whoever_posts_in_http_2_hears_the_refusal(edge: TranslatedEdge, echo: UnixSocket) -> None:
    """curl up to 7.88 loses an answer that comes before it has sent its body."""
    authority = edge.directory / "authority.pem"
    authority.write_text(edge.authority.pem)
    await edge.publish(
        endpoint("https://posted.edge.test", echo, traffic_policy=policy_text(rule(("deny", {"status_code": 451}))))
    )
    url = f"https://posted.edge.test:{edge.https}/"
    for _ in range(10):
        answer = await asyncio.to_thread(curl, url, authority, "--http2", "--data", "a=1")
        assert answer.status == 451


ASKED = "${getQueryParam('q')[0]}"
HEADS = {
    "custom-response": {"headers": {"x-asked": ASKED}},
    "redirect": {"to": "/there", "headers": {"x-asked": ASKED}},
    "add-headers": {"headers": {"x-asked": ASKED}},
}


@pytest.mark.parametrize(
    ("action", "phase"),
    [
        ("custom-response", "request"),
        ("redirect", "request"),
        ("custom-response", "response"),
        ("add-headers", "response"),
    ],
)
async def test_no_visitor_writes_headers_of_his_own(
    action: str, phase: str, send: Callable[[str], Awaitable[Send]]
) -> None:
    """Envoy writes to visitors of HTTP/1.1 whatever it is given."""
    one_rule = rule((action, HEADS[action]))
    one = await send(policy_text(one_rule) if phase == "request" else policy_text(response=[one_rule]))
    answer = await one(path="/?q=a%0d%0aset-cookie:%20evil=1")
    assert "set-cookie" not in answer.headers
    assert answer.status == (200 if action == "add-headers" else 403), "as an expression that fails"
    assert (await one(path="/?q=a%09b")).headers["x-asked"] == "a\tb"


async def test_what_a_url_is_made_of_does_not_end_it(send: Callable[[str], Awaitable[Send]]) -> None:
    one = await send(policy_text(rule(("redirect", {"to": f"https://to.test/v2${{req.url.path}}?{ASKED}"}))))
    answer = await one(path="/a%20HTTP/1.1%0d%0ahost:%20evil?q=b%20c%09%7f")
    assert answer.headers["location"] == "https://to.test/v2/a%20HTTP/1.1%0D%0Ahost:%20evil?b%20c%09%7F"


@pytest.mark.parametrize(
    ("provider", "secret", "headers"),
    [
        ("gitlab", "${vars.none}", {}),
        ("github", "${vars.none}", {"x_hub_signature_256": f"sha256={mac(BODY, key=b'').hex()}"}),
        ("svix", "whsec_!", {"svix_id": "a", "svix_timestamp": "NOW", "svix_signature": "OF NOTHING"}),
    ],
)
async def test_a_secret_that_is_empty_signs_nothing(
    provider: str, secret: str, headers: dict[str, str], send: Callable[[str], Awaitable[Send]]
) -> None:
    if provider == "svix":
        now = str(int(time.time()))
        of_nothing = b64(mac(f"a.{now}.".encode() + BODY, key=b""))
        headers = {**headers, "svix_timestamp": now, "svix_signature": f"v1,{of_nothing}"}
    unset = rule(("set-vars", {"vars": [{"none": ""}]}))
    one = await send(policy_text(unset, rule(("verify-webhook", {"provider": provider, "secret": secret}))))
    assert (await one(BODY, **headers)).status == 403


async def test_a_password_that_is_empty_lets_nobody_in(send: Callable[[str], Awaitable[Send]]) -> None:
    unset = rule(("set-vars", {"vars": [{"none": ""}]}))
    one = await send(policy_text(unset, rule(("basic-auth", {"credentials": ["ann:${vars.none}"]}))))
    assert (await one(authorization=f"Basic {b64(b'ann:')}")).status == 401
