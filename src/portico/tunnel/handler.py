"""What happens on one stream of a session. Stands alone: a compiled module's classes take no interpreted subclasses."""


class StreamHandler:
    """What happens on one stream; asyncio's Protocol in the small. If one raises, its stream alone is reset."""

    def data_received(self, data: bytes) -> None:
        """Bytes came. They are credited to the peer unless reading is paused when this returns."""

    def eof_received(self) -> None:
        """The peer finished its direction; ours stays open."""

    def connection_lost(self, code: int | None) -> None:
        """The stream is over: None after FIN both ways, else a muxado ErrorCode. Called exactly once."""

    def pause_writing(self) -> None:
        """Too much is queued on the stream: write no more for now."""

    def resume_writing(self) -> None:
        """Go on."""
