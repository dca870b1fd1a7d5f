"""The default place of the file on each platform."""

from pathlib import Path

import pytest

from portico.cli.config.paths import default_path
from portico.model.errors import CONFIG_MISSING, PorticoError


@pytest.mark.parametrize(
    ("platform", "environ", "place"),
    [
        ("linux", {}, "HOME/.config/portico/portico.yml"),
        ("linux", {"XDG_CONFIG_HOME": "/etc/xdg"}, "/etc/xdg/portico/portico.yml"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, "HOME/.config/portico/portico.yml"),
        ("darwin", {"XDG_CONFIG_HOME": "/x"}, "HOME/Library/Application Support/portico/portico.yml"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/portico/portico.yml"),
        ("win32", {}, "HOME/AppData/Local/portico/portico.yml"),
    ],
)
def test_place(platform: str, environ: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_path(environ, platform) == Path(place.replace("HOME", "/home/somebody"))


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(PorticoError) as caught:
        default_path({}, "linux")
    assert caught.value.code is CONFIG_MISSING
