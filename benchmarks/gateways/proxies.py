"""nginx, HAProxy, Caddy, Traefik and Envoy itself, each with the shortest configuration that does the work.

Where a program's own limit on idle upstream connections is below the number of visitors it is raised, and nginx is kept
from writing bodies to disk; all else is as they ship.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml

from benchmarks.comparison import Named
from benchmarks.gateways.gateway import BULK, IDLE_UPSTREAM, WORKERS, Program, Setting, upstream_ports

_TYPE = "type.googleapis.com/"


class Nginx(Program):
    needs = "nginx"
    named = Named("nginx", "peer", f"{WORKERS} workers, `proxy_pass` with kept connections, bodies never on disk.")

    def configure(self, setting: Setting, ports: Mapping[str, int]) -> list[str]:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {setting.directory}/{kind};" for kind in kinds)
        servers = "\n".join(
            f"upstream {name} {{ server 127.0.0.1:{upstream}; keepalive {IDLE_UPSTREAM}; "
            "keepalive_requests 1000000000; }\n"
            f"server {{ listen 127.0.0.1:{ports[host]} ssl http2 backlog=4096; ssl_certificate {setting.certificate}; "
            f"ssl_certificate_key {setting.key}; ssl_protocols TLSv1.2 TLSv1.3; location / {{ "
            f'proxy_pass http://{name}; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}'
            for name, (host, upstream) in zip(("pages", "bulk"), upstream_ports(setting).items(), strict=True)
        )
        config = setting.directory / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes {WORKERS}; pid {setting.directory}/nginx.pid;\n"
            f"user root; events {{ worker_connections 8192; }}\n"
            f"http {{ access_log off; {paths} keepalive_requests 1000000000; client_max_body_size 0;\n"
            f"proxy_request_buffering off; proxy_max_temp_file_size 0;\n{servers}\n}}\n"
        )
        log = str(setting.directory / "nginx.log")
        return [str(setting.programs["nginx"]), "-p", str(setting.directory), "-c", str(config), "-e", log]


class Haproxy(Program):
    needs = "HAProxy"
    named = Named("HAProxy", "peer", f"{WORKERS} threads, `mode http`, HTTP/2 by ALPN.")

    def configure(self, setting: Setting, ports: Mapping[str, int]) -> list[str]:
        proxies = "".join(
            f"listen {host}\n  bind 127.0.0.1:{ports[host]} ssl crt {setting.both} ssl-min-ver TLSv1.2 "
            f"alpn h2,http/1.1\n  server s 127.0.0.1:{upstream}\n"
            for host, upstream in upstream_ports(setting).items()
        )
        config = setting.directory / "haproxy.cfg"
        config.write_text(
            f"global\n  nbthread {WORKERS}\n  maxconn 8000\n"
            "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 10s\n" + proxies
        )
        return [str(setting.programs["haproxy"]), "-db", "-f", str(config)]


class Caddy(Program):
    needs = "Caddy"
    named = Named("Caddy", "peer", f"`reverse_proxy`, GOMAXPROCS={WORKERS}, no admin address.")
    environment: ClassVar[Mapping[str, str]] = {"GOMAXPROCS": str(WORKERS)}

    def configure(self, setting: Setting, ports: Mapping[str, int]) -> list[str]:
        sites = "".join(
            f"https://{host}:{ports[host]} {{\n bind 127.0.0.1\n tls {setting.certificate} {setting.key}\n"
            f" reverse_proxy 127.0.0.1:{upstream} {{\n  transport http {{\n"
            f"   keepalive_idle_conns_per_host {IDLE_UPSTREAM}\n  }}\n }}\n}}\n"
            for host, upstream in upstream_ports(setting).items()
        )
        config = setting.directory / "Caddyfile"
        config.write_text(f"{{\n admin off\n auto_https off\n servers {{\n  protocols h1 h2\n }}\n}}\n{sites}")
        return [str(setting.programs["caddy"]), "run", "--config", str(config), "--adapter", "caddyfile"]


class Traefik(Program):
    needs = "Traefik"
    named = Named("Traefik", "peer", f"File provider, GOMAXPROCS={WORKERS}, no access log, no dashboard.")
    environment: ClassVar[Mapping[str, str]] = {"GOMAXPROCS": str(WORKERS)}

    def configure(self, setting: Setting, ports: Mapping[str, int]) -> list[str]:
        routes = setting.directory / "routes.yml"
        names = dict(zip(ports, ("pages", "bulk"), strict=True))
        routers = {
            name: {"rule": f"Host(`{host}`)", "service": name, "entryPoints": [name], "tls": {}}
            for host, name in names.items()
        }
        services = {
            names[host]: {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{upstream}"}]}}
            for host, upstream in upstream_ports(setting).items()
        }
        pair = {"certFile": str(setting.certificate), "keyFile": str(setting.key)}
        routes.write_text(
            yaml.safe_dump({"http": {"routers": routers, "services": services}, "tls": {"certificates": [pair]}})
        )
        config = setting.directory / "traefik.yml"
        # Its own limit of 60 s for a request's body would end the uploads' connections in between.
        waits = {"respondingTimeouts": {"readTimeout": 0}}
        entries = {name: {"address": f"127.0.0.1:{ports[host]}", "transport": waits} for host, name in names.items()}
        static = {
            "entryPoints": entries,
            "providers": {"file": {"filename": str(routes)}},
            "serversTransport": {"maxIdleConnsPerHost": IDLE_UPSTREAM},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
        }
        config.write_text(yaml.safe_dump(static))
        return [str(setting.programs["traefik"]), f"--configFile={config}"]


class Envoy(Program):
    needs = "Envoy"
    named = Named("plain Envoy", "peer", f"The edge's own Envoy, {WORKERS} workers, one route and its defaults.")

    def configure(self, setting: Setting, ports: Mapping[str, int]) -> list[str]:
        hosts = upstream_ports(setting)
        config = setting.directory / "envoy.json"
        resources = {
            "listeners": [_listener(setting, host, ports[host]) for host in hosts],
            "clusters": [_cluster(host, upstream) for host, upstream in hosts.items()],
        }
        config.write_text(json.dumps({"static_resources": resources}))
        words = ("-c", str(config), "--concurrency", str(WORKERS), "--disable-hot-restart", "-l", "error")
        return [str(setting.programs["envoy"]), *words]


def _listener(setting: Setting, host: str, port: int) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": str(setting.certificate)},
        "private_key": {"filename": str(setting.key)},
    }
    tls = {
        "@type": f"{_TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]},
    }
    # Without this a route ends every response after 15 s.
    route = {"cluster": host, **({"timeout": "0s"} if host == BULK else {})}
    manager = {
        "@type": f"{_TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": host,
        "route_config": {
            "virtual_hosts": [{"name": host, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPE}envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {
        "transport_socket": {"name": "tls", "typed_config": tls},
        "filters": [{"name": "http", "typed_config": manager}],
    }
    return {"name": host, "address": _address(port), "filter_chains": [chain]}


def _cluster(host: str, port: int) -> dict[str, Any]:
    return {
        "name": host,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": host,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
