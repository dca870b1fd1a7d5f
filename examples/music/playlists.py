"""Everybody's playlist: reading gives one's own, posting a song's title adds it."""

from collections import defaultdict

from service import Request, machine, serve

LISTS: defaultdict[str, list[str]] = defaultdict(list)


def answer(request: Request) -> object:
    """The playlist of who asks."""
    if request.method == "POST":
        LISTS[request.who].append(request.body.decode())
    return {"playlist": LISTS[request.who], "of": request.who, "machine": machine()}


if __name__ == "__main__":
    serve(answer)
