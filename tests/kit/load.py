"""Visitors who keep coming while a test does something to who serves them."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.parse import urlsplit

from kit.polling import eventually
from kit.visitor import Visitor


@dataclass
class Load:
    """Visitors who come one after the other, each on a few threads; what they got."""

    visitor: Visitor
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0
    """Seconds that each waits before he asks again."""
    statuses: Counter[int | str] = field(default_factory=Counter)
    bodies: Counter[bytes] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _visit(self) -> None:
        parts = urlsplit(self.url)
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        connection = self.visitor.connection(self.url)
        while not self._stop.wait(self.pause):
            try:
                connection.request(self.method, target, headers=dict(self.headers))
                answer = connection.getresponse()
                self.bodies[answer.read()] += 1
                self.statuses[answer.status] += 1
            except (OSError, HTTPException) as error:
                self.statuses[type(error).__name__] += 1
                connection = self.visitor.connection(self.url)

    def passes(self, number: int) -> None:
        """Wait until so many more have been answered."""
        goal = self.statuses.total() + number
        eventually(lambda: self.statuses.total() >= goal)

    @contextlib.contextmanager
    def on(self, threads: int) -> Iterator[None]:
        """Visitors keep coming."""
        workers = [threading.Thread(target=self._visit) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()
