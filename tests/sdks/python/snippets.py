"""The Python programs of ngrok's pages on TLS termination and mutual TLS: `snippets.py ngrok|portico CASE`.

Only what is one's own differs from the pages: the edge (`edge`), the address, the domain and the files; and the
module's name, for Portico's own SDK takes the same arguments. The cases `agent` and `mutual-tls-agent` are its alone:
TLS ends in this process.
"""

import importlib
import os
import signal
import sys
from typing import Any

ngrok = importlib.import_module(sys.argv[1])

edge = {"server_addr": os.environ["PORTICO_CONNECT_URL"], "root_cas": os.environ["PORTICO_CONNECT_CAS"]}
upstream = os.environ["UPSTREAM"]


def load_file(variable: str) -> bytearray:
    with open(os.environ[variable]) as crt:
        return bytearray(crt.read().encode())


def at_upstream() -> Any:
    return ngrok.forward(upstream, authtoken_from_env=True, proto="tls", domain=os.environ["DOMAIN"], **edge)


def at_edge() -> Any:
    return ngrok.forward(upstream, authtoken_from_env=True, proto="tls", crt=bytearray(), key=bytearray(), **edge)


def own_certificate() -> Any:
    return ngrok.forward(
        upstream, authtoken_from_env=True, proto="tls", crt=load_file("CRT"), key=load_file("KEY"), **edge
    )


def mutual_tls() -> Any:
    return ngrok.forward(
        upstream,
        authtoken_from_env=True,
        proto="tls",
        domain=os.environ["DOMAIN"],
        crt=load_file("CRT"),
        key=load_file("KEY"),
        mutual_tls_cas=load_file("CAS"),
        **edge,
    )


def at_agent() -> Any:
    return ngrok.forward(
        upstream,
        authtoken_from_env=True,
        proto="tls",
        domain=os.environ["DOMAIN"],
        terminate_at="agent",
        crt=load_file("CRT"),
        key=load_file("KEY"),
        **edge,
    )


def mutual_tls_at_agent() -> Any:
    return ngrok.forward(
        upstream,
        authtoken_from_env=True,
        proto="tls",
        domain=os.environ["DOMAIN"],
        terminate_at="agent",
        crt=load_file("CRT"),
        key=load_file("KEY"),
        mutual_tls_cas=load_file("CAS"),
        **edge,
    )


cases = {
    "upstream": at_upstream,
    "edge": at_edge,
    "own-certificate": own_certificate,
    "mutual-tls": mutual_tls,
    "agent": at_agent,
    "mutual-tls-agent": mutual_tls_at_agent,
}
listener = cases[sys.argv[2]]()
print(f"Ingress established at: {listener.url()}", flush=True)
signal.pause()
