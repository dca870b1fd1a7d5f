"""A real Envoy follows an AdsServer: what is published answers, what is rejected harms nobody else."""

import asyncio
import re
import signal
import socket
import ssl
import struct
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.envoy import (
    ADS,
    URL,
    Rig,
    cluster,
    eventually,
    filter_chain,
    http_get,
    http_listener,
    listener,
    on_demand_certificate,
    running_envoy,
    scope,
    secret,
    tcp_proxy,
    tls_socket,
    unix_upstream,
)
from kit.ports import free_port
from portico.envoy.publication import EnvoyUnavailable, ResourceRejected
from portico.translate.resource import CLUSTER, ENDPOINTS, FILTER_CHAIN, LISTENER, SCOPE, SECRET, Resource

PING, GOAWAY = 6, 7
TLS_INSPECTOR = {
    "name": "tls",
    "typed_config": {"@type": f"{URL}envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
}


@pytest.fixture
async def rig():
    async with running_envoy() as rig, unix_upstream(rig.upstream, b"hello"):
        yield rig


@pytest.fixture
async def http(rig: Rig):
    port = free_port()
    await rig.ads.publish([http_listener(port)])
    return port


async def refused(port: int) -> bool:
    try:
        await http_get(port, "any.test")
    except ConnectionError as error:  # a reset is Envoy closing what came while it was closing
        return isinstance(error, ConnectionRefusedError)
    return False


async def updates(rig: Rig) -> list[tuple[str, str]]:
    """How often Envoy was sent something, by kind of resource."""
    return re.findall(
        r"^(envoy_\w*(?:cds|lds|scoped_rds)_update_success)\S* (\d+)", await rig.envoy.admin.metrics(), re.M
    )


class TestPublish:
    async def test_answers_at_once_and_no_more_once_removed(self, rig: Rig, http: int):
        for host in ("a.test", "b.test"):
            await rig.ads.publish([cluster(host, rig.upstream), scope(host, host)])
            assert await http_get(http, host) == (200, b"hello")
        await rig.ads.publish(remove=[(SCOPE, "a.test"), (CLUSTER, "a.test")])
        assert (await http_get(http, "a.test"))[0] == 404
        assert (await http_get(http, "b.test"))[0] == 200
        await rig.ads.publish(remove=[(LISTENER, "main")])
        assert await eventually(lambda: refused(http))

    async def test_replaces_what_is_there(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("a.test", rig.run_dir / "nobody.sock"), scope("a.test", "a.test")])
        assert (await http_get(http, "a.test"))[0] == 503
        await rig.ads.publish([cluster("a.test", rig.upstream)])
        assert (await http_get(http, "a.test"))[0] == 200

    async def test_moves_a_scope_key_to_another_name(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("one", rig.upstream), scope("a.test", "nowhere", name="old")])
        await rig.ads.publish([scope("a.test", "one", name="new")], remove=[(SCOPE, "old")])
        assert (await http_get(http, "a.test"))[0] == 200

    async def test_many_at_once_all_answer(self, rig: Rig, http: int):
        hosts = [f"h{number}.test" for number in range(60)]
        await asyncio.gather(*(rig.ads.publish([cluster(h, rig.upstream), scope(h, h)]) for h in hosts))
        assert [(await http_get(http, host))[0] for host in hosts] == [200] * len(hosts)

    async def test_same_content_again_is_acknowledged_without_being_sent(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        before = await updates(rig)
        await rig.ads.publish([cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        assert await updates(rig) == before

    async def test_endpoints_by_name(self, rig: Rig, http: int):
        eds = Resource(CLUSTER, "eds", {"name": "eds", "type": "EDS", "eds_cluster_config": {"eds_config": ADS}})
        host = {"endpoint": {"address": {"pipe": {"path": str(rig.upstream)}}}}
        hosts = Resource(ENDPOINTS, "eds", {"cluster_name": "eds", "endpoints": [{"lb_endpoints": [host]}]})
        await rig.ads.publish([eds, hosts, scope("a.test", "eds")])
        assert (await http_get(http, "a.test"))[0] == 200
        await rig.ads.publish([Resource(ENDPOINTS, "eds", {"cluster_name": "eds"})])
        assert (await http_get(http, "a.test"))[0] == 503

    async def test_an_envoy_that_pings_while_there_is_no_news_stays(self, rig: Rig):
        """Frames of HTTP/2 (RFC 9113, 6.7): empty SETTINGS, then PINGs, each of which is acknowledged."""
        reader, writer = await asyncio.open_unix_connection(rig.ads_socket)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        for number in range(10):
            writer.write(bytes((0, 0, 8, PING, 0, 0, 0, 0, 0)) + number.to_bytes(8))
            kind, acknowledged = None, 0
            while (kind, acknowledged) != (PING, 1):
                length, kind, acknowledged = struct.unpack("!IBB", b"\0" + await reader.readexactly(5))
                payload = (await reader.readexactly(4 + length))[4:]
                assert kind != GOAWAY, payload
        writer.close()

    async def test_no_envoy_is_told_after_the_timeout_and_gets_it_later(self, run_dir):
        rig = Rig(run_dir)
        port = free_port()
        await rig.ads.start()
        try:
            with pytest.raises(EnvoyUnavailable, match="main"):
                await rig.ads.publish([http_listener(port)], timeout=0.05)
            await rig.envoy.start()
            assert (await http_get(port, "a.test"))[0] == 404
        finally:
            await rig.stop()


class TestRejection:
    async def test_of_a_listener_whose_address_is_taken(self, rig: Rig, http: int):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            good = listener(free_port(), {"name": "x", "filters": [tcp_proxy("one")]}, name="good")
            bad = listener(port, {"name": "x", "filters": [tcp_proxy("one")]}, name="bad")
            with pytest.raises(ResourceRejected) as caught:
                await rig.ads.publish([cluster("one", rig.upstream), good, bad])
        assert caught.value.names == ["bad"]
        assert caught.value.address_in_use
        assert {r.name for r in rig.ads.dump() if r.type_url == LISTENER} == {"main", "good"}

    async def test_names_the_culprit_alone(self, rig: Rig, http: int):
        good = [cluster(f"c{number}", rig.upstream) for number in range(3)]
        bad = cluster("bad", "/" + "x" * 200)
        scopes = [scope("a.test", "c1"), scope("b.test", "c2")]
        with pytest.raises(ResourceRejected, match="bad") as caught:
            await rig.ads.publish([*good, bad, *scopes])
        assert caught.value.names == ["bad"]
        assert not caught.value.address_in_use
        assert [(await http_get(http, host))[0] for host in ("a.test", "b.test")] == [200, 200]

    async def test_keeps_the_live_version(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        with pytest.raises(ResourceRejected):
            await rig.ads.publish([scope("a.test", "a.test", retry_policy={"retry_back_off": {}})])
        with pytest.raises(ResourceRejected):
            await rig.ads.publish([cluster("a.test", "/" + "x" * 200)])
        assert (await http_get(http, "a.test"))[0] == 200
        live = {resource.name: resource.body for resource in rig.ads.dump() if resource.type_url == SCOPE}
        assert "retry_policy" not in str(live["a.test"])

    async def test_of_a_scope_is_over_once_its_reason_is(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("one", rig.upstream), scope("a.test", "one", name="first")])
        second = scope("a.test", "one", name="second")
        with pytest.raises(ResourceRejected) as caught:
            await rig.ads.publish([second])
        assert caught.value.names == ["second"]
        await rig.ads.publish(remove=[(SCOPE, "first")])
        await rig.ads.publish([second])  # the same content, which Envoy has seen and not applied
        assert (await http_get(http, "a.test"))[0] == 200

    async def test_at_the_first_sync_leaves_the_others_live(self, run_dir):
        rig = Rig(run_dir)
        port = free_port()
        rig.ads.submit([http_listener(port), cluster("one", rig.upstream)])
        rig.ads.submit([scope(f"h{number}.test", "one") for number in range(20)])
        duplicate = rig.ads.submit([scope("h3.test", "one", name="duplicate")])
        try:
            async with unix_upstream(rig.upstream, b"hello"):
                await rig.start()
                with pytest.raises(ResourceRejected):
                    await rig.ads.acknowledged(duplicate)
                for number in range(20):
                    assert (await http_get(port, f"h{number}.test"))[0] == 200
        finally:
            await rig.stop()

    async def test_of_what_cannot_be_encoded_changes_nothing(self, rig: Rig, http: int):
        with pytest.raises(ResourceRejected, match=r"Cluster\.nme"):
            await rig.ads.publish([cluster("a", rig.upstream), cluster("b", rig.upstream, nme=1)])
        assert not [resource for resource in rig.ads.dump() if resource.type_url == CLUSTER]


class TestReconnection:
    async def test_after_our_restart_sends_nothing_when_nothing_changed(self, rig: Rig, http: int):
        resources = [http_listener(http), cluster("a.test", rig.upstream), scope("a.test", "a.test")]
        await rig.ads.publish(resources)
        before = await updates(rig)
        await rig.ads.stop()
        assert (await http_get(http, "a.test"))[0] == 200
        rig.ads = rig.new_ads()
        rig.ads.hold()
        await rig.ads.start()
        resynced = rig.ads.submit(resources)
        await eventually(lambda: rig.ads.connected)
        rig.ads.open()
        await rig.ads.acknowledged(resynced)
        assert await updates(rig) == before
        assert (await http_get(http, "a.test"))[0] == 200

    async def test_after_our_restart_sends_what_changed(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("one", rig.upstream), scope("gone.test", "one")])
        await rig.ads.stop()
        rig.ads = rig.new_ads()
        rig.ads.hold()
        await rig.ads.start()
        resynced = rig.ads.submit([http_listener(http), cluster("one", rig.upstream), scope("new.test", "one")])
        rig.ads.open()
        await rig.ads.acknowledged(resynced)
        assert (await http_get(http, "new.test"))[0] == 200
        assert (await http_get(http, "gone.test"))[0] == 404

    async def test_killed_envoy_gets_everything_back(self, rig: Rig, http: int):
        await rig.ads.publish([cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        rig.kill_envoy()
        await eventually(lambda: rig.exits)
        assert rig.exits == [-signal.SIGKILL]
        await rig.envoy.start()
        await rig.ads.publish([scope("b.test", "a.test")])
        assert [(await http_get(http, host))[0] for host in ("a.test", "b.test")] == [200, 200]

    async def test_publication_under_way_survives_the_death_of_envoy(self, rig: Rig, http: int):
        rig.kill_envoy()
        publishing = asyncio.create_task(rig.ads.publish([cluster("a.test", rig.upstream), scope("a.test", "a.test")]))
        await eventually(lambda: rig.exits)
        await rig.envoy.start()
        await publishing
        assert (await http_get(http, "a.test"))[0] == 200


def key_pair(host: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


async def presented(port: int, host: str) -> str | None:
    """The certificate that a visitor of `host` is shown, PEM; None when the handshake fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    except (ssl.SSLError, ConnectionError):
        return None
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(shown)


class TestSecrets:
    async def test_on_demand_by_server_name(self):
        pairs = {"a.test": key_pair("a.test")}
        wanted: list[str] = []
        released: list[str] = []

        async def wanting(name: str) -> Resource | None:
            wanted.append(name)
            await asyncio.sleep(0)
            if name == "broken.test":
                raise RuntimeError("no certificate today")
            return secret(name, *pairs[name]) if name in pairs else None

        async with (
            running_envoy(on_secret_wanted=wanting, on_secret_released=released.append) as rig,
            unix_upstream(rig.upstream, b""),
        ):
            port = free_port()
            chain = {
                "name": "on-demand",
                "filters": [tcp_proxy("one")],
                "transport_socket": tls_socket(**on_demand_certificate()),
            }
            await rig.ads.publish(
                [cluster("one", rig.upstream), listener(port, chain, listener_filters=[TLS_INSPECTOR])]
            )
            assert await presented(port, "a.test") == pairs["a.test"][0]
            assert await presented(port, "a.test") == pairs["a.test"][0]
            assert await presented(port, "unknown.test") is None
            assert await presented(port, "broken.test") is None
            assert wanted == ["a.test", "unknown.test", "broken.test"]
            renewed = key_pair("a.test")
            await rig.ads.publish([secret("a.test", *renewed)])
            assert await presented(port, "a.test") == renewed[0]
            await rig.envoy.stop()
            await eventually(lambda: released == ["a.test"])
            assert not [resource for resource in rig.ads.dump() if resource.type_url == SECRET]

    async def test_named_by_a_listener_of_the_same_publication(self, rig: Rig):
        pair = key_pair("a.test")
        port = free_port()
        sds = {"name": "own", "sds_config": ADS}
        chain = {
            "name": "tls",
            "filters": [tcp_proxy("one")],
            "transport_socket": tls_socket(tls_certificate_sds_secret_configs=[sds]),
        }
        await rig.ads.publish([cluster("one", rig.upstream), secret("own", *pair), listener(port, chain)])
        assert await presented(port, "a.test") == pair[0]
        with pytest.raises(ResourceRejected) as caught:
            await rig.ads.publish([secret("own", pair[0], key_pair("a.test")[1])])
        assert caught.value.names == ["own"]
        assert await presented(port, "a.test") == pair[0]


def sni_matcher(**chains: list[str]) -> dict[str, object]:
    chains = chains or {"static": ["placeholder.test"]}

    def action(name: str) -> dict[str, object]:
        return {"action": {"name": name, "typed_config": {"@type": f"{URL}google.protobuf.StringValue", "value": name}}}

    names = {
        "@type": f"{URL}xds.type.matcher.v3.ServerNameMatcher",
        "domain_matchers": [{"domains": domains, "on_match": action(chain)} for chain, domains in chains.items()],
    }
    prefix = "envoy.extensions.matching.common_inputs.network.v3"
    by_name = {
        "input": {"name": "sni", "typed_config": {"@type": f"{URL}{prefix}.ServerNameInput"}},
        "custom_match": {"name": "names", "typed_config": names},
    }
    return {"matcher_tree": by_name, "on_no_match": action("static")}


class TestFilterChains:
    """Chains that Envoy fetches by the names that the listener's matcher mentions (FCDS)."""

    def listener(self, port: int, **chains: list[str]) -> Resource:
        return listener(
            port,
            {"name": "static", "filters": [tcp_proxy("nobody")]},
            listener_filters=[TLS_INSPECTOR],
            filter_chain_matcher=sni_matcher(**chains),
            fcds_config={"config_source": ADS},
        )

    async def test_come_and_go_by_name(self, rig: Rig):
        certificate, key = key_pair("a.test")
        port = free_port()
        pair = {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}
        chain = filter_chain("own", tcp_proxy("one"), transport_socket=tls_socket(tls_certificates=[pair]))
        await rig.ads.publish([cluster("one", rig.upstream), self.listener(port)])
        assert await presented(port, "a.test") is None
        await rig.ads.publish([chain, self.listener(port, own=["a.test"])])
        assert await presented(port, "a.test") == certificate
        assert await presented(port, "b.test") is None
        bad = filter_chain("own", tcp_proxy("one"), transport_socket=tls_socket(tls_certificates=[{}]))
        with pytest.raises(ResourceRejected) as caught:
            await rig.ads.publish([bad])
        assert caught.value.names == ["own"]
        assert await presented(port, "a.test") == certificate
        await rig.ads.publish([self.listener(port)], remove=[(FILTER_CHAIN, "own")])
        assert await presented(port, "a.test") is None
