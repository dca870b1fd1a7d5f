"""Who takes part, in the order of the tables, and who is set against whom."""

from benchmarks.comparison import Lead, Named
from benchmarks.peers.bore import Bore
from benchmarks.peers.chisel import Chisel
from benchmarks.peers.frp import Frp
from benchmarks.peers.openssh import OpenSsh
from benchmarks.peers.portico import Portico
from benchmarks.peers.rathole import Rathole
from benchmarks.peers.tunnel import Contender

NO_TUNNEL = Named("no tunnel", "limit", "Visitors ask the service itself: what this machine does with nothing between.")
CONTENDERS: tuple[Contender, ...] = (
    Portico("tcp"),
    Portico("http"),
    Portico("tls"),
    Frp(),
    Rathole(),
    Chisel(),
    Bore(),
    OpenSsh(),
    Frp(http=True),
    Portico("ngrok"),
)
ENCRYPTED_PEERS = ("frp", "rathole", "chisel", "ssh -R")
LEADS = (
    Lead("tcp : frp", "portico tcp", ("frp",)),
    Lead("tcp : best peer", "portico tcp", (*ENCRYPTED_PEERS, "bore")),
    Lead("tcp : best encrypted peer", "portico tcp", ENCRYPTED_PEERS),
    Lead("http : frp http", "portico http", ("frp http",)),
    Lead("http : ngrok SDK", "portico http", ("ngrok SDK",)),
)
