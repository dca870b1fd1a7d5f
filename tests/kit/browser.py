"""Somebody with a browser at a real edge, who signs in at a real provider (`kit.dex`)."""

import ssl
from urllib.parse import urlsplit

import httpx

from kit.dex import Dex
from kit.edge import RunningEdge

PAGE = {"accept": "text/html"}


class Browser:
    """Follows nothing by itself, and keeps cookies as they come."""

    def __init__(self, edge: RunningEdge, host: str) -> None:
        self.edge, self.host = edge, host
        self.cookies: dict[str, str] = {}
        self._trust = ssl.create_default_context(cafile=str(edge.ca))

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        """One answer."""
        fields = {"host": f"{self.host}:{self.edge.https_port}", **PAGE, **headers}
        if self.cookies:
            fields["cookie"] = self.cookie
        with httpx.Client(verify=self._trust, trust_env=False, timeout=60) as client:
            url = f"https://127.0.0.1:{self.edge.https_port}{path}"
            answer = client.get(url, headers=fields, extensions={"sni_hostname": self.host})
        for line in answer.headers.get_list("set-cookie"):
            pair, *attributes = line.split("; ")
            name, _, value = pair.partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in attributes:
                self.cookies.pop(name)
        return answer

    @property
    def cookie(self) -> str:
        """The header."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def to_provider(self, path: str = "/") -> str:
        """Where somebody is led who has not signed in."""
        answer = self.get(path)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def sign_in(self, dex: Dex, path: str = "/") -> httpx.Response:
        """There and back, with the password; the page that was asked for."""
        back = urlsplit(dex.sign_in(self.to_provider(path)))
        assert back.netloc == f"{self.host}:{self.edge.https_port}"
        answer = self.get(f"{back.path}?{back.query}")
        assert answer.status_code == 302, answer.text
        there = urlsplit(answer.headers["location"])
        assert there.netloc == f"{self.host}:{self.edge.https_port}"
        return self.get(f"{there.path}?{there.query}" if there.query else there.path)
