"""Two endpoints in one session, inside an event loop. `python forward_async.py PORT`"""

import asyncio
import sys

import portico


async def main() -> None:
    """Open both, and serve until one of them ends."""
    port = sys.argv[1]
    web, raw = await asyncio.gather(
        portico.forward(port, authtoken_from_env=True),
        portico.forward(port, proto="tcp", authtoken_from_env=True),
    )
    print(web.url(), raw.url(), flush=True)
    await asyncio.wait([asyncio.ensure_future(one.join()) for one in (web, raw)], return_when=asyncio.FIRST_COMPLETED)


asyncio.run(main())
