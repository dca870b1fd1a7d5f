"""Our own SDK as an agent: `python -m kit.soak.sdk_agent OPTIONS ...`, each the options of one `forward` as JSON."""

import json
import signal
import sys

import portico


def main() -> None:
    """Until a signal; a refusal ends it, as it ends most programs."""
    try:
        listeners = [portico.forward(**json.loads(options)) for options in sys.argv[1:]]
    except portico.PorticoError as error:
        sys.exit(str(error))
    print(json.dumps([listener.url() for listener in listeners]), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
