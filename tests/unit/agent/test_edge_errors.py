import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.agent.edge_errors import edge_error
from portico.model.errors import BIND_REJECTED, PorticoError, all_codes


@pytest.mark.parametrize("code", all_codes(), ids=str)
def test_every_error_survives_the_wire(code: object) -> None:
    sent = PorticoError(code, "what is wrong")  # type: ignore[arg-type]
    received = edge_error(sent.protocol_text())
    assert (received.code, received.message, received.fix) == (sent.code, sent.message, sent.fix)


def test_what_has_no_code_gets_the_fallback() -> None:
    error = edge_error("no")
    assert (error.code, error.message, error.fix) == (BIND_REJECTED, "no", BIND_REJECTED.fix)


@given(st.text())
def test_any_text_is_an_error(text: str) -> None:
    assert edge_error(text).message
