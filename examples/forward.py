"""Give the service on port 8000 a public URL. `python forward.py [PORT]`

Where the edge is comes from PORTICO_CONNECT_URL, PORTICO_CONNECT_CAS and PORTICO_AUTHTOKEN.
"""

import sys

import portico

listener = portico.forward(sys.argv[1] if len(sys.argv) > 1 else 8000, authtoken_from_env=True)
print(listener.url(), flush=True)
listener.join()
