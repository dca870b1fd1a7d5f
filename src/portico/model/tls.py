"""What both ends of a tunnel say of TLS: its versions, and certificates with their keys."""

from enum import StrEnum

from portico.model.value import Value


class TlsVersion(StrEnum):
    """The TLS versions that visitors may be held to."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class KeyPair(Value, frozen=True):
    """A certificate chain and its private key, PEM. The key never appears in `repr`."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "KeyPair(…)"
