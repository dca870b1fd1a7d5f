"""A FastAPI application under uvicorn with a public URL of its own: no port is opened. `python fastapi_app.py`"""

import uvicorn
from fastapi import FastAPI

import portico

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    """The one page."""
    return {"hello": "from FastAPI"}


listener = portico.listen(authtoken_from_env=True)
print(listener.url(), flush=True)
uvicorn.run(app, fd=listener.fileno(), log_level="warning")
