"""Give http://localhost:8080 a public URL on your own edge, with ngrok's Python SDK."""

import os
import signal

import ngrok

listener = ngrok.forward(
    os.environ.get("UPSTREAM", "localhost:8080"),
    authtoken=os.environ["PORTICO_AUTHTOKEN"],
    server_addr=os.environ["PORTICO_CONNECT_URL"],
    root_cas=os.environ["PORTICO_CONNECT_CAS"],
)
print(listener.url(), flush=True)
signal.pause()
