"""Counts that nodes share, in a real PostgreSQL."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.postgres import Postgres
from portico.model.errors import DATABASE_UNUSABLE, STORE_UNUSABLE, PorticoError
from portico.store import counters as module
from portico.store.counters import Counters
from portico.store.store import Store

LIMIT, KEY = "ab" * 16, "cd" * 32
DAY = 86_400
_numbers = itertools.count(1_000)


@pytest.fixture(scope="module")
def url(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    made = postgres.new_database()
    Store.open(tmp_path_factory.mktemp("store"), made).close()
    return made


@pytest.fixture
def counters(url: str, postgres: Postgres) -> Iterator[Counters]:
    postgres.run("TRUNCATE rate_windows", name_of(url))
    opened = Counters(url)
    yield opened
    opened.close()


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def key(number: int) -> str:
    return f"{number:064x}"


ALL = """
import sys
from portico.store.counters import Counters
url, limit, key, capacity, wanted = sys.argv[1:]
counters, total = Counters(url), 0
print("ready", flush=True)
sys.stdin.readline()
while granted := counters.take(limit, key, int(capacity), 86_400, int(wanted))[0]:
    total += granted
print(total)
"""
"""A process that takes until there is no more."""


def test_processes_get_the_capacity_together_and_no_more(url: str, counters: Counters) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", ALL, url, LIMIT, KEY, "600", wanted],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for wanted in ("1", "1", "2", "50")
    ]
    for taker in takers:
        assert taker.stdout
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        assert taker.stdin
        taker.stdin.write("go\n")
        taker.stdin.flush()
    found = [int(taker.communicate(timeout=100)[0]) for taker in takers]
    assert sum(found) == 600
    assert counters.take(LIMIT, KEY, 600, DAY, 1)[0] == 0


@pytest.mark.parametrize(("capacity", "wanted"), [(500, 3), (5_000, 1_000), (7, 100)])
def test_threads_share_one(counters: Counters, capacity: int, wanted: int) -> None:
    taken: list[int] = []

    def take() -> None:
        while granted := counters.take(LIMIT, KEY, capacity, DAY, wanted)[0]:
            taken.append(granted)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == capacity


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 2_000_000_000), st.lists(st.integers(1, 2_000_000_000), min_size=1, max_size=20))
def test_a_grant_is_a_tenth_of_what_is_left_at_most_but_one(
    counters: Counters, capacity: int, wishes: list[int]
) -> None:
    name, left = key(next(_numbers)), capacity
    for wanted in wishes:
        granted, seconds = counters.take(LIMIT, name, capacity, DAY, wanted)
        assert granted == min(wanted, left, max(1, left // 10))
        assert 0 < seconds <= DAY
        left -= granted


def test_keys_and_limits_are_counted_apart(counters: Counters) -> None:
    other = "00" * 16
    assert [counters.take(*of, 1, DAY, 1)[0] for of in ((LIMIT, KEY), (LIMIT, key(1)), (other, KEY))] == [1, 1, 1]
    assert [counters.take(*of, 1, DAY, 1)[0] for of in ((LIMIT, KEY), (LIMIT, key(1)), (other, KEY))] == [0, 0, 0]


def test_a_window_that_has_ended_begins_anew(url: str, counters: Counters, postgres: Postgres) -> None:
    assert counters.take(LIMIT, KEY, 1, 60, 1)[0] == 1
    granted, seconds = counters.take(LIMIT, KEY, 1, 60, 1)
    assert granted == 0
    assert 0 < seconds <= 60
    end_windows(postgres, url)
    granted, seconds = counters.take(LIMIT, KEY, 1, 60, 1)
    assert granted == 1
    assert 0 < seconds <= 60


def end_windows(postgres: Postgres, url: str, where: str = "true") -> None:
    postgres.run(f"UPDATE rate_windows SET ends_at = now() - interval '1s' WHERE {where}", name_of(url))


def kept(postgres: Postgres, url: str) -> int:
    ((count,),) = postgres.run("SELECT count(*) FROM rate_windows", name_of(url))
    assert isinstance(count, int)
    return count


def test_what_has_ended_is_swept(
    url: str, counters: Counters, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    for number in range(10):
        counters.take(LIMIT, key(number), 2, 60, 1)
    end_windows(postgres, url, f"key_digest <> '\\x{key(4)}'")
    assert counters.sweep() == 9
    assert kept(postgres, url) == 1
    assert [counters.take(LIMIT, key(4), 2, 60, 1)[0] for _ in range(2)] == [1, 0]
    assert counters.sweep() == 0


def test_a_limit_with_too_many_keys_forgets_the_windows_that_began_first(
    url: str, counters: Counters, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 4)
    monkeypatch.setattr(module, "BATCH", 2)
    other = "01" * 16
    for number in range(9):
        counters.take(LIMIT, key(number), 1, 60, 1)
    counters.take(other, KEY, 1, 60, 1)
    assert counters.sweep() == 5
    assert [counters.take(LIMIT, key(number), 1, 60, 1)[0] for number in (8, 5, 0)] == [0, 0, 1]
    assert counters.take(other, KEY, 1, 60, 1)[0] == 0, "another limit has its own"


def test_a_count_changes_no_index(url: str, counters: Counters, postgres: Postgres) -> None:
    for _ in range(50):
        counters.take(LIMIT, KEY, 1_000, DAY, 1)
    # By the pages themselves: what the statistics say comes late.
    postgres.run("CREATE EXTENSION IF NOT EXISTS pageinspect", name_of(url))
    ((heap_only,),) = postgres.run(
        "SELECT count(*) FROM heap_page_items(get_raw_page('rate_windows', 0)) WHERE t_infomask2 & 32768 > 0",
        name_of(url),
    )
    assert isinstance(heap_only, int)
    assert heap_only > 0


def test_a_server_that_was_restarted_is_no_news_and_a_dead_one_is_told(tmp_path: Path) -> None:
    from kit.postgres import running_postgres

    with running_postgres() as server:
        url = server.new_database()
        Store.open(tmp_path, url).close()
        counters = Counters(url)
        assert counters.take(LIMIT, KEY, 2, DAY, 1)[0] == 1
        server.stop()
        server.start()
        assert counters.take(LIMIT, KEY, 2, DAY, 1)[0] == 1, "its first connection is a dead one"
        server.stop()
        for ask in (lambda: counters.take(LIMIT, KEY, 2, DAY, 1), counters.sweep):
            with pytest.raises(PorticoError) as caught:
                ask()
            assert caught.value.code is DATABASE_UNUSABLE
            assert "secret" not in str(caught.value)
            assert KEY not in str(caught.value)
        counters.close()


def test_a_database_without_the_table_is_unusable(postgres: Postgres) -> None:
    counters = Counters(postgres.new_database())
    with pytest.raises(PorticoError) as caught:
        counters.take(LIMIT, KEY, 1, DAY, 1)
    assert caught.value.code is DATABASE_UNUSABLE
    counters.close()


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(PorticoError) as caught:
        Counters("::")
    assert caught.value.code is STORE_UNUSABLE
