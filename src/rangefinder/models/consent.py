"""Consent to a user's code: which modules a model's card may make this process import.

A card is data from anywhere, but a custom teacher's names a network, and importing it runs it. Only
networks that the project's own configuration names are imported, or all, if the user says so.
"""

from __future__ import annotations

from rangefinder.errors import ModelError

EVERYTHING = "*"
_trusted: set[str] = set()


class UntrustedCodeError(ModelError):
    """A card names code that nobody here has agreed to run."""


def trust(network: str | None) -> None:
    """Agree to import a network, "package.module:Class", or `EVERYTHING`, in this process."""
    if network is not None:
        _trusted.add(network)


def require_trust(network: str, owner: str) -> None:
    """Refuse a network that nobody agreed to import; `owner` is for the message.

    Raises:
        UntrustedCodeError: In that case.
    """
    if _trusted.isdisjoint((network, EVERYTHING)):
        raise UntrustedCodeError(
            f"{owner} needs code that nobody here has agreed to run",
            got=f"teacher.network {network}",
            expected="a network that this project's configuration names",
            todo="If you know that module and trust it, give --trust-code.",
        )
