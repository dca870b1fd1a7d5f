"""The REST API: ngrok's paths, fields, paging and errors. Control composes it; `portico api` reads its declarations."""
