from pathlib import Path

from portico.edge.ticket_keys import PERIOD_SECONDS, TicketKeys
from portico.store.first_start import first_start
from portico.store.store import Store


def test_nodes_agree_and_each_period_reads_its_neighbours_tickets(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    first_start(store, tmp_path)
    now = 1_700_000_000.0
    keys, later = TicketKeys(store).at(now), TicketKeys(store).at(now + PERIOD_SECONDS)
    assert {len(key) for key in keys} == {80}
    assert len(set(keys)) == 3
    assert later[0] not in keys[:2]
    assert later[0] == keys[2]
    assert keys[0] in later
    store.close()
