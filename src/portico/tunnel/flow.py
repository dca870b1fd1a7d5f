"""What two sides agree on about the bytes of a stream that are in flight."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Flow:
    """Sizes in bytes. Both sides hold a stream to the flow that its session has when the stream is opened."""

    window: int
    """DATA that a stream may have in flight at first, each direction."""
    widest: int
    """And at most: a receiver widens a stream that the window holds up. What one stalled stream can make it hold."""
    frame: int
    """The largest DATA frame that we send, so that streams take turns."""
    crowded: int
    """Queued on a stream, above which its writer should wait for StreamDrained."""


NARROW: Final = Flow(window=0x40000, widest=0x40000, frame=0x8000, crowded=0x10000)
"""muxado's own, which every ngrok SDK expects; the start of every session."""
WIDE: Final = Flow(window=0x100000, widest=0x800000, frame=0x1FFF8, crowded=0x40000)
"""What Portico's agent and relay agree on with Auth: 1.6 Gbit/s at 40 ms, and fewer turns for a byte.

A frame fills eight TLS records with its header.
"""
WIDENED: Final = 0x2000000
"""Bytes by which all streams of a session together may be wider than they began."""
