"""What tells the sign-ins of one host apart, in the names of their cookies."""

from hashlib import sha256


def sign_in_tag(provider: str, issuer: str, application: str, auth_id: str) -> str:
    """Ten hexadecimal digits; `application` is its client id, and of provider and issuer one is empty."""
    return sha256("\n".join((provider, issuer, application, auth_id)).encode()).hexdigest()[:10]
