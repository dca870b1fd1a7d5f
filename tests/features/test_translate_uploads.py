"""A request with a large body where nobody listens: Envoy tries again, and cannot keep the body meanwhile."""

import asyncio

from kit.translated import endpoint, translated_edge
from portico.model import errors
from portico.model.endpoint import UnixSocket

SIZE = 2_000_000


async def test_an_upload_that_cannot_be_tried_again_gets_the_page_of_its_tunnel() -> None:
    code = errors.TUNNEL_UNAVAILABLE
    async with translated_edge() as edge:
        await edge.publish(endpoint("https://dead.edge.test", UnixSocket(str(edge.directory / "nobody.sock"))))
        for attempt in range(40):
            reader, writer = await edge.open("dead.edge.test")
            writer.write(b"POST / HTTP/1.1\r\nhost: dead.edge.test\r\ncontent-length: %d\r\n\r\n" % SIZE)
            # One of these comes while Envoy waits for its next attempt.
            await asyncio.sleep(0.0005 * (attempt % 8))
            writer.write(bytes(SIZE))
            head = await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            assert head.startswith(b"HTTP/1.1 %d " % code.status)
            assert f"portico-error-code: {code}".encode() in head
