"""One node as far as its store goes: run by a test as a process of its own, at the same time as others.

`python -m kit.store_node DATA_DIR URL NAME…` opens the store, waits for a line, reserves each name that is free, and
prints those that it got.
"""

import sys
from pathlib import Path

from portico.model.errors import DOMAIN_RESERVED, PorticoError
from portico.store.first_start import first_start
from portico.store.store import Store
from portico.store.tables import API


def _main(data_dir: str, url: str, *names: str) -> None:
    store = Store.open(Path(data_dir), url)
    first = first_start(store, Path(data_dir))
    print("first" if first else "later", flush=True)
    sys.stdin.readline()
    for name in names:
        try:
            with store.write() as unit:
                unit.domains.add(unit.owners.all()[0].id, name, source=API)
        except PorticoError as error:
            if error.code is not DOMAIN_RESERVED:
                raise
        else:
            print(name)
    store.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])
