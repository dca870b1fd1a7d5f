"""The page about ngrok's SDKs says what its examples do, and the agent's configuration files work as they stand."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kit.edge import RunningEdge
from kit.sdk_builds import EXAMPLES, ROOT
from kit.service import http_service
from kit.visitor import Visitor

PAGE = ROOT / "docs" / "ngrok-sdks.md"


def test_the_page_shows_the_files() -> None:
    blocks = re.findall(r"^```[a-z]+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    files = sorted(EXAMPLES.iterdir())
    assert [path.name for path in files if path.read_text() not in blocks] == []
    assert [path.name for path in files if f"examples/ngrok-sdks/{path.name}" not in PAGE.read_text()] == []


@pytest.mark.parametrize("version", [2, 3])
def test_the_agent_s_configuration(edge: RunningEdge, tmp_path: Path, version: int) -> None:
    text = (EXAMPLES / f"ngrok-v{version}.yml").read_text()
    with http_service() as port:
        mine = {
            "the-text-of-<data-dir>/authtoken": edge.authtoken,
            "edge.example.com:443": edge.connect_url,
            "/etc/portico/ca.pem": str(edge.ca),
            "8080": str(port),
        }
        for written, real in mine.items():
            assert written in text
            text = text.replace(written, real)
        config = tmp_path / "ngrok.yml"
        config.write_text(text)
        command = [sys.executable, "-m", "portico.cli.main", "start", "--all", "--config", str(config)]
        agent = subprocess.Popen(
            [*command, "--log", "stdout", "--log-format", "json"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert agent.stdout is not None
            lines = (json.loads(line) for line in agent.stdout)
            url = next(line["url"] for line in lines if "url" in line)
            assert Visitor(edge.ca).get(url + "/hello") == (200, "served /hello\n")
        finally:
            agent.terminate()
            agent.wait()
            if agent.stdout:
                agent.stdout.close()
