import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model import errors, pages


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


@pytest.mark.parametrize("code", errors.all_codes(), ids=str)
def test_every_code_has_its_page(code: errors.ErrorCode) -> None:
    html = pages.html_page(code)
    tags = _Tags()
    tags.feed(html)
    assert tags.links == []
    assert str(code) in html
    assert str(code) in pages.text_page(code)
    assert (code.ngrok or str(code)) in pages.json_page(code)


@given(st.text(), st.text())
def test_any_detail_is_only_text(detail: str, accept: str) -> None:
    html = pages.html_page(errors.UPSTREAM_UNREACHABLE, detail)
    tags = _Tags()
    tags.feed(html)
    plain = _Tags()
    plain.feed(pages.html_page(errors.UPSTREAM_UNREACHABLE, "x" if detail else ""))
    assert tags.tags == plain.tags
    assert json.loads(pages.json_page(errors.UPSTREAM_UNREACHABLE, detail)).get("detail", "") == detail
    content_type, body = pages.render(errors.UPSTREAM_UNREACHABLE, "refused", accept)
    assert b"refused" in body
    assert content_type.split(";")[0] in ("text/html", "application/json", "text/plain")


def test_marks_name_the_error() -> None:
    assert pages.mark_fields(errors.UPSTREAM_UNREACHABLE, "m") == [("m", "8012"), ("m-ngrok", "ERR_NGROK_8012")]
    assert pages.mark_fields(errors.STREAM_LIMIT, "m") == [("m", "20023")]
    assert pages.mark_fields(errors.STREAM_LIMIT, "m", unseen=True) == [("m", "20023"), ("m-unseen", "1")]
    assert pages.code_headers(errors.STREAM_LIMIT) == [("portico-error-code", "PORTICO_20023")]
