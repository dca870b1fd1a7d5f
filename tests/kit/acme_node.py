"""One node of an edge as far as automatic certificates go: run by a test as a process of its own.

`python -m kit.acme_node DATA_DIR DIRECTORY_URL CA_FILE NAME…` prints its certificates' serials when it has them all.
"""

import asyncio
import sys
from pathlib import Path

from cryptography import x509

from portico.certificates.acme_challenges import ChallengeDesk
from portico.certificates.acme_issuer import Issuer
from portico.certificates.acme_rules import AcmeDirectory, AcmeRules
from portico.certificates.automatic import AutomaticCertificates
from portico.edge.acme import StoreShelf
from portico.model.acme import AcmeCertificate, AcmeChallenge, ChallengeKind
from portico.store.store import Store


class _Stage:
    """Puts challenges into the store only: the authority believes everything here."""

    def __init__(self, desk: ChallengeDesk, shelf: StoreShelf) -> None:
        self._desk = desk
        self._shelf = shelf

    async def put(self, challenge: AcmeChallenge) -> None:
        self._desk.put(challenge)
        await self._shelf.put_challenge(challenge)

    async def remove(self, challenge: AcmeChallenge) -> None:
        self._desk.remove(challenge)
        await self._shelf.remove_challenge(challenge)


async def _main(data_dir: str, url: str, ca_file: str, *names: str) -> None:
    rules = AcmeRules((AcmeDirectory(url, ca_file),), "", (ChallengeKind.HTTP,), (), 1_000, 0.5)
    store = Store.open(Path(data_dir))
    shelf = StoreShelf(store)
    issuer = Issuer(rules, shelf, _Stage(ChallengeDesk(shelf.challenges), shelf))
    got: dict[str, AcmeCertificate] = {}
    complete = asyncio.Event()

    def changed(record: AcmeCertificate) -> None:
        got[record.name] = record
        if len(got) == len(names):
            complete.set()

    automatic = AutomaticCertificates(rules, shelf, issuer, lambda host: (host,), changed)
    await automatic.load()
    for name in names:
        automatic.want(name)
    work = asyncio.create_task(automatic.run())
    await complete.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    store.close()
    for name in sorted(got):
        pair = got[name].pair
        assert pair
        print(name, x509.load_pem_x509_certificate(pair.certificate.encode()).serial_number)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
