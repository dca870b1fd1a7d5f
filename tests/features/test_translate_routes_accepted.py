"""Whatever `route_check` has no fault to find with, Envoy takes: a refused scope would keep its old routes."""

import random
from collections.abc import Iterator

import pytest

from kit.translated import endpoint, translated_edge
from portico.model.endpoint import HostPort, Pool
from portico.model.route import (
    Affinity,
    Answer,
    Backend,
    Cors,
    FieldMatch,
    HeaderChanges,
    Match,
    Mirror,
    PathChange,
    PathKind,
    PathMatch,
    Redirect,
    Retries,
    Rewrite,
    Route,
)
from portico.translate.route_check import route_faults

TEXTS = [
    "",
    "a",
    "/",
    "/a",
    "/a/",
    "a b",
    "%",
    "%REQ(x)%",
    "%%",
    "\\1",
    "é",
    "\0",
    "\n",
    "\x7f",
    "*",
    "(",
    "[a-z]+",
    ":path",
]
TEXTS += [
    "host",
    "x-a",
    "a.example",
    "a.example:80",
    "10.0.0.5",
    "[::1]:8",
    "/a%20b",
    "/%zz",
    "/a//b",
    "/..",
    "x" * 1_025,
]
TEXTS += [
    "y" * 4_097,
    "set-cookie",
    "content-length",
    "te",
    "GET",
    "get",
    "a{1000}",
    r"\pL{200}",
    "(a{900}|b{90}){1}",
    "\t",
]
NUMBERS = [
    -1,
    0,
    1,
    2,
    99,
    100,
    199,
    200,
    204,
    301,
    303,
    308,
    403,
    404,
    470,
    475,
    503,
    599,
    600,
    65_535,
    65_536,
    10**6,
    10**7,
]
SECONDS = [-1.0, 0.0, 1e-9, 0.0004, 0.001, 0.0015, 1.0, 86_400.0, 1e9]


class Author:
    """Writes routes of what is likely to be taken the wrong way."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self) -> str:
        return self._random.choice(TEXTS)

    def number(self) -> int:
        return self._random.choice(NUMBERS)

    def maybe(self, value: object) -> object:
        return value if self._random.random() < 0.3 else None

    def changes(self) -> HeaderChanges:
        if self._random.random() < 0.8:
            return HeaderChanges()
        pairs = ((self.text(), self.text()),)
        return HeaderChanges(pairs, (), ()) if self._random.random() < 0.5 else HeaderChanges((), pairs, ("x-b",))

    def fields(self) -> tuple[FieldMatch, ...]:
        value = self._random.choice([None, self.text()])
        return (FieldMatch(self.text(), value, self._random.random() < 0.5),) if self._random.random() < 0.3 else ()

    def cors(self) -> Cors | None:
        origins = (self._random.choice(["*", "https://*.a.example", "https://a", self.text()]),)
        cors = Cors(origins, ("GET",), (self.text(),), ("x-a", "*"), self._random.random() < 0.5, self.number())
        return cors if self._random.random() < 0.2 else None

    def match(self) -> Match:
        path = PathMatch(self._random.choice(list(PathKind)), self.text())
        methods = self._random.choice([(), ("GET",), ("GET", "PUT"), (self.text(),)])
        return Match(path, methods, self.fields(), self.fields())

    def backend(self) -> Backend:
        host = self._random.choice([None, None, None, self.text()])
        return Backend(self._random.choice("pq?"), self.number(), self.changes(), self.changes(), host)

    def path(self) -> PathChange | None:
        return self._random.choice([None, PathChange(self.text()), PathChange(self.text(), prefix=True)])

    def route(self) -> Route:
        kind = self._random.random()
        matches = tuple(self.match() for _ in range(self._random.randrange(3)))
        shared = {"name": self.text(), "matches": matches, "request_headers": self.changes(), "cors": self.cors()}
        if kind < 0.2:
            scheme, port = self._random.choice([None, "https", self.text()]), self._random.choice([None, self.number()])
            redirect = Redirect(scheme, self._random.choice([None, self.text()]), port, self.path(), self.number())
            return Route(**shared, redirect=redirect)  # type: ignore[arg-type]
        if kind < 0.4:
            return Route(**shared, answer=Answer(self.number(), self.text(), self.text()))  # type: ignore[arg-type]
        return Route(
            **shared,  # type: ignore[arg-type]
            backends=tuple(self.backend() for _ in range(self._random.randrange(1, 4))),
            response_headers=self.changes(),
            rewrite=self.maybe(Rewrite(self._random.choice([None, self.text()]), self.path())),  # type: ignore[arg-type]
            mirrors=(Mirror("p", self.number()),) if self._random.random() < 0.2 else (),
            timeout=self._random.choice([0.0, 0.0, *SECONDS]),
            try_timeout=self._random.choice([0.0, 0.0, *SECONDS]),
            retries=self.maybe(Retries(self.number(), (self.number(),), self._random.choice(SECONDS))),  # type: ignore[arg-type]
            affinity=self.maybe(  # type: ignore[arg-type]
                self._random.choice([Affinity(self.text(), lifetime=self.number()), Affinity(header=self.text())])
            ),
        )


def accepted(seed: int) -> Iterator[Route]:
    author = Author(seed)
    while True:
        route = author.route()
        if not list(route_faults(route, ["p", "q"])):
            yield route


@pytest.mark.timeout(300)
async def test_what_has_no_fault_is_taken() -> None:
    pools = (Pool("p", (HostPort("127.0.0.1", 1), HostPort("127.0.0.1", 2))), Pool("q", ()))
    routes = accepted(5)
    async with translated_edge() as edge:
        for number in range(12):
            of_one = tuple(next(routes) for _ in range(12))
            await edge.publish(endpoint(f"https://r{number}.edge.test", routes=of_one, pools=pools))
