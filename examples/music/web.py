"""The player: what people see in a browser."""

from html import escape

from service import Request, serve


def answer(request: Request) -> object:
    """The one page."""
    if request.path != "/":
        return None
    return (
        f"<!doctype html><title>Music</title><h1>Hello {escape(request.who)}</h1>"
        "<form action='/search'><input name='q' placeholder='blue'><button>Search</button></form>"
        "<p><a href='/playlists'>My playlist</a> <a href='/ngrok/logout'>Sign out</a></p>\n"
    )


if __name__ == "__main__":
    serve(answer)
