from collections.abc import Iterator
from typing import Any

from portico.translate.replies import OWN_STATUSES, local_replies, unmapped_status


def statuses(value: Any) -> Iterator[int]:
    """Every status that some rule looks at by itself."""
    if isinstance(value, list):
        for item in value:
            yield from statuses(item)
    elif isinstance(value, dict):
        if "status_code_filter" in value:
            yield value["status_code_filter"]["comparison"]["value"]["default_value"]
        else:
            for item in value.values():
                yield from statuses(item)


def test_each_status_that_names_a_page_has_one_that_does_not() -> None:
    """What a route answers by its owner's wish is never replaced by a page."""
    looked_at = set(statuses(local_replies("edge.test", shared=True))) - set(OWN_STATUSES) - {504}  # 504: with a flag
    assert {403, 429} < looked_at
    for status in range(200, 600):
        assert (unmapped_status(status) in OWN_STATUSES) is (status in looked_at or status in OWN_STATUSES), status
