import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.api import Api
from portico.api.ssh_credentials import read_public_key
from portico.model.errors import SSH_KEY_INVALID, PorticoError

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOyfvGh4mdm+hz818Rwc55m+4BXWF0o9qNsz0TxwnG0/"
DSA = "ssh-dss AAAAB3NzaC1kc3MAAAAHAAAAAAAAAAAAAAcAAAAAAAAA"


@pytest.mark.parametrize("resource", ["credentials", "ssh_credentials"])
async def test_rules_are_checked_kept_and_changed(api: Api, resource: str) -> None:
    extra = {"public_key": f"{ED25519} anna@laptop"} if resource == "ssh_credentials" else {}
    for wrong in (["bind:"], ["connect:x"], ["bind:ok.example.com", "x"]):
        answer = await api.send("POST", f"/{resource}", {"acl": wrong, **extra})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "ERR_NGROK_600")
    made = await api.make(f"/{resource}", {"acl": ["bind:*.example.com"], **extra})
    assert made["acl"] == ["bind:*.example.com"]
    path = f"/{resource}/{made['id']}"
    assert (await api.send("PATCH", path, {"description": "x"})).json()["acl"] == ["bind:*.example.com"]
    assert (await api.send("PATCH", path, {"acl": ["nothing"]})).status_code == 400
    assert (await api.send("PATCH", path, {"acl": []})).json()["acl"] == []
    await api.send("DELETE", path)
    assert api.node.told == [
        ("acl", made["id"], ("bind:*.example.com",)),
        ("acl", made["id"], ()),
        ("revoked", made["id"]),
    ]


async def test_a_token_is_shown_once_and_kept_as_its_digest(api: Api) -> None:
    made = await api.make("/credentials")
    assert made["token"].startswith("pt_")
    with api.store.read() as unit:
        holder = unit.authtokens.holder_of(made["token"])
        everything = unit.session.connection().exec_driver_sql("SELECT * FROM authtokens").all()
    assert holder is not None
    assert holder[1].id == made["id"]
    assert made["token"] not in repr(everything)
    assert made["token"] not in (await api.send("GET", "/credentials")).text


async def test_an_ssh_key_is_found_by_its_fingerprint_and_registered_once(api: Api) -> None:
    made = await api.make("/ssh_credentials", {"public_key": f"{ED25519} anna@laptop\n", "acl": ["bind:*"]})
    assert made["public_key"] == ED25519
    with api.store.read() as unit:
        holder = unit.ssh_credentials.holder_of(read_public_key(ED25519)[1])
    assert holder is not None
    assert (holder[0].name, holder[1].id, holder[1].acl.rules) == ("default", made["id"], ("bind:*",))
    again = await api.send("POST", "/ssh_credentials", {"public_key": ED25519}, key=api.other_owner())
    assert (again.status_code, again.json()["error_code"]) == (409, "PORTICO_20107")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOyfvGh4mdm+hz818Rwc55m+4BXWF0o9qNsz0TxwnG0/",
        f"{ED25519}\n{ED25519}",
        ED25519.replace("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"),
        DSA,
    ],
)
async def test_what_is_no_public_key_is_refused(api: Api, key: str) -> None:
    answer = await api.send("POST", "/ssh_credentials", {"public_key": key})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "PORTICO_20110")


async def test_a_private_key_is_refused_and_not_repeated(api: Api) -> None:
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecretsecret\n-----END OPENSSH PRIVATE KEY-----"
    answer = await api.send("POST", "/ssh_credentials", {"public_key": text})
    assert "this is a private key" in answer.json()["msg"]
    assert "secretsecret" not in answer.text


@given(st.text() | st.text().map(lambda text: f"ssh-ed25519 {text}") | st.binary().map(lambda raw: raw.hex(" ")))
def test_any_text_is_a_key_or_is_refused(text: str) -> None:
    try:
        line, fingerprint = read_public_key(text)
    except PorticoError as error:
        assert error.code is SSH_KEY_INVALID
    else:
        assert read_public_key(line) == (line, fingerprint)
