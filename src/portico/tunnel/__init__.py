"""The agent protocol: muxado frames, sessions and ngrok's messages; thin asyncio drivers beside the pure core."""
