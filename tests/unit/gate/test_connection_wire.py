"""The gate's own declaration of Envoy's messages, held against Envoy's."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from portico.envoy.binary import envoy_binary
from portico.envoy.descriptors import MessageTypes, load_message_types
from portico.gate.connection_wire import read_question, write_answer

V3 = "envoy.service.ratelimit.v3.RateLimit"


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> MessageTypes:
    directory: Path = tmp_path_factory.mktemp("types")
    return load_message_types(envoy_binary(), directory)


def test_a_question_of_envoy(types: MessageTypes) -> None:
    told = {"endpoint": "tcp://a:1", "conn.client_ip": "192.0.2.1", "empty": ""}
    entries = [{"key": key, "value": value} for key, value in told.items()]
    body = {"domain": "portico", "descriptors": [{"entries": entries}], "hitsAddend": 1}
    question = json_format.ParseDict(body, types.message(f"{V3}Request")())
    assert read_question(question.SerializeToString()) == told


@pytest.mark.parametrize(("passes", "code"), [(True, "OK"), (False, "OVER_LIMIT")])
def test_an_answer_for_envoy(types: MessageTypes, passes: bool, code: str) -> None:
    facts: dict[str, Any] = {"cluster": "tcp://a.internal:1", "log": {"a": [1, None, {"b": "ü"}], "c": True}}
    answer = types.message(f"{V3}Response").FromString(write_answer(passes, facts))
    assert json_format.MessageToDict(answer) == {"overallCode": code, "dynamicMetadata": facts}


@given(st.binary())
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        assert isinstance(read_question(data), dict)
    except ValueError:
        return
