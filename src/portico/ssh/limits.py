"""The bounds of the SSH door: what one connection, authenticated or not, can make it hold."""

from typing import Final

LOGIN_SECONDS: Final = 60.0
"""From the connection to its authentication; a person may have to paste a token."""
UNAUTHENTICATED: Final = 512
"""Connections that have not authenticated yet; a further one is refused. A key exchange costs about 10 ms."""
CREDENTIALS: Final = 12
"""Keys and tokens that one connection may offer: key agents hold several keys, guessing needs many more."""
FORWARDS: Final = 64
"""`-R` of one connection."""
VISITORS: Final = 1_024
"""Channels of one connection; each is an open file of the ssh client, whose usual limit is 1,024."""
WINDOW: Final = 1 << 19
"""Bytes that one channel's upstream may send ahead of its visitor: what a stalled visitor costs."""
PACKET: Final = 1 << 15
"""The largest packet that every implementation takes (RFC 4253, 6.1)."""
HELD: Final = 1 << 16
"""A visitor's bytes that wait for its channel to be opened."""
KEEPALIVE_SECONDS: Final = 15
KEEPALIVES_LOST: Final = 3
"""A client that leaves so many keepalives unanswered is gone."""
NO_SESSION_SECONDS: Final = 2.0
"""How long a forward waits for a session channel, which `ssh` opens in the same breath unless it was given `-N`."""
COMMAND_SECONDS: Final = 10.0
"""How long an open session channel may take to say its command: one round trip."""
LINGER_SECONDS: Final = 5.0
"""How long a client that was refused may take to close the connection itself."""
