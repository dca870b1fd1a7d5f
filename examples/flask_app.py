"""A Flask application with a public URL of its own: no port is opened. `python flask_app.py`"""

from flask import Flask
from werkzeug.serving import make_server

import portico

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    """The one page."""
    return "Hello from Flask\n"


listener = portico.listen(authtoken_from_env=True)
print(listener.url(), flush=True)
make_server("unix://portico", 0, app, fd=listener.fileno(), threaded=True).serve_forever()
