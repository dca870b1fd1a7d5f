"""The gate: what a traffic policy needs of the world outside, asked by Envoy's workers over a Unix socket.

It signs people in (`oauth`, `openid-connect`), verifies tokens (`jwt-validation`) and sends requests (`http-request`).
Who asks keeps the answers for a while, so that a request whose session or token is known asks nothing.
"""
