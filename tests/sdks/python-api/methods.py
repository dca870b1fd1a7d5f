"""Every method of ngrok's official API client, as the request that it makes: a line of JSON each on standard output."""

import inspect
import json

import ngrok

VALUES = {"str": "x", "bool": True, "int": 1, "float": 1.0, "Sequence[str]": ["x"]}


class Recorder:
    """In place of the client's HTTP: remembers the request, answers nothing."""

    def __init__(self) -> None:
        self.request: dict[str, object] = {}

    def __getattr__(self, verb: str):
        def send(path: str, fields: dict[str, object] | None):
            self.request = {"verb": verb.upper(), "path": path, "fields": sorted(fields or {})}
            return {}

        return send


client = ngrok.Client("key", "https://api.example.com")
client.http_client = recorder = Recorder()
names = [name for name, kind in vars(type(client)).items() if isinstance(kind, property)]
services = {name: getattr(client, name) for name in names}
for group in [name for name, service in services.items() if isinstance(service, tuple)]:
    services |= {f"{group}.{name}": inner for name, inner in services.pop(group)._asdict().items()}
for name, service in services.items():
    for method, function in inspect.getmembers(service, inspect.ismethod):
        if method.startswith("_"):
            continue
        parameters = inspect.signature(function).parameters
        function(**{one.name: VALUES.get(str(one.annotation)) for one in parameters.values()})
        print(json.dumps({"service": name, "method": method, **recorder.request}))
