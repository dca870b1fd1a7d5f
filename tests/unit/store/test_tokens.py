import hashlib

from hypothesis import given
from hypothesis import strategies as st

from portico.store.tokens import digest, new_api_key, new_authtoken, new_id, shown_prefix


def test_no_two_tokens_are_alike() -> None:
    made = [make() for make in (new_authtoken, new_api_key) for _ in range(500)] + [new_id("rd") for _ in range(500)]
    assert len(set(made)) == 1_500


def test_a_digest_is_the_sha256_of_the_text() -> None:
    assert digest("pt_x") == hashlib.sha256(b"pt_x").digest()


@given(st.text())
def test_every_text_has_a_digest_and_a_prefix_that_keeps_most_of_it_back(text: str) -> None:
    assert len(digest(text)) == 32
    assert text.startswith(shown_prefix(text))
    assert len(shown_prefix(text)) <= min(8, len(text) / 4)
