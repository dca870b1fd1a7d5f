"""Searches for songs. Run as often as there is to search."""

from service import Request, machine, serve

SONGS = ("Blue in Green", "So What", "Green Onions", "Blue Monday", "Heart of Glass", "Once in a Lifetime")


def answer(request: Request) -> object:
    """Songs with the word `q` in their titles, and which machine looked."""
    word = request.query.get("q", "").casefold()
    return {
        "songs": [song for song in SONGS if word in song.casefold()],
        "asked_by": request.who,
        "machine": machine(),
    }


if __name__ == "__main__":
    serve(answer)
