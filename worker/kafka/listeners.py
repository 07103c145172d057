"""The listeners of a broker: the plain one, and those with SASL and TLS when they are wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PLAINTEXT: Final = "PLAINTEXT"
CONTROLLER: Final = "CONTROLLER"
SASL: Final = "SASL_PLAINTEXT"
RELAYED: Final = "RELAYED"
"""As `BrokerSecurity.relayed` says; clients are told to come to a relay before it."""

SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")

_JAAS: Final = "org.apache.kafka.common.security"
_USER: Final = re.compile(r"[A-Za-z0-9._-]+")
_UNSPEAKABLE: Final = frozenset('",\\')
"""What a password cannot have, as the JAAS file or the format tool has no way to quote it."""


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """Who may connect to the secure listeners of a broker, which every node has beside PLAINTEXT.

    SASL_PLAINTEXT is there always, SSL and SASL_SSL when the TLS files are given. Those with SASL
    take PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, and OAUTHBEARER with unsecured tokens of anybody's;
    SSL asks for a certificate of the client's. A broker is meant for tests: passwords stand in its
    configuration and, while it is formatted, on a command line.

    Raises `ValueError` for a user or password that Kafka cannot be told, or for half of TLS.
    """

    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name to password. SCRAM knows those that were there when a node's folder was new."""

    certificate: Path | None = None
    """PEM file: the broker's private key as PKCS #8, then its certificate and what signed it."""

    ca: Path | None = None
    """PEM file: the certificates that those of clients must be signed by."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.ca is None):
            raise ValueError("certificate and ca must be given together: TLS takes both")
        for name, password in self.users.items():
            _check(name, password)

    @property
    def listeners(self) -> tuple[str, ...]:
        """Name the listeners that there are besides the plain one."""
        tls = ("SASL_SSL", "SSL") if self.certificate and self.ca else ()
        return (SASL, *tls)

    @property
    def relayed(self) -> str:
        """Name what clients speak that come through a relay."""
        return "SASL_SSL" if self.certificate else SASL


def listeners(security: BrokerSecurity | None) -> tuple[str, ...]:
    """Name the listeners that a node has; each is named as the protocol that it speaks.

    The exception is CONTROLLER, which is PLAINTEXT and only for nodes among themselves.
    """
    return (PLAINTEXT, CONTROLLER, *(security.listeners if security else ()))


def security_properties(security: BrokerSecurity | None) -> dict[str, str]:
    """Give the properties of all listeners of a node but their addresses."""
    protocols = _protocols(security)
    return {
        "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in protocols.items()),
        "inter.broker.listener.name": PLAINTEXT,
        "controller.listener.names": CONTROLLER,
        **(_secure(security) if security else {}),
    }


def scram_users(security: BrokerSecurity | None) -> list[str]:
    """Give the options by which the format tool makes the users of SCRAM."""
    return [
        option
        for name, password in (security.users.items() if security else ())
        for mechanism in SCRAM
        for option in ("--add-scram", f'{mechanism}=[name="{name}",password="{password}"]')
    ]


def _check(user: str, password: str) -> None:
    if not _USER.fullmatch(user):
        raise ValueError(f"the user {user!r} must be of letters, digits, '.', '_' and '-'")
    printable = password.isascii() and password.isprintable()
    if not password or not printable or _UNSPEAKABLE.intersection(password):
        raise ValueError(
            f"the password of {user} must be of printable ASCII without quote, comma and backslash"
        )


def _protocols(security: BrokerSecurity | None) -> dict[str, str]:
    """What each listener speaks, by its name."""
    named = {name: name for name in listeners(security)}
    relayed = security.relayed if security else PLAINTEXT
    return {**named, CONTROLLER: PLAINTEXT, RELAYED: relayed}


def _secure(security: BrokerSecurity) -> dict[str, str]:
    chosen = {}
    for name, protocol in _protocols(security).items():
        sasl = _sasl(security.users) if "SASL" in protocol else {}
        tls = _tls(security) if "SSL" in protocol else {}
        client = {"ssl.client.auth": "required"} if name == "SSL" else {}
        for key, value in {**sasl, **tls, **client}.items():
            chosen[f"listener.name.{name.lower()}.{key}"] = value
    return chosen


def _sasl(users: Mapping[str, str]) -> dict[str, str]:
    known = "".join(f' user_{name}="{password}"' for name, password in users.items())
    modules = {
        "PLAIN": f"plain.PlainLoginModule required{known};",
        "SCRAM-SHA-256": "scram.ScramLoginModule required;",
        "SCRAM-SHA-512": "scram.ScramLoginModule required;",
        "OAUTHBEARER": "oauthbearer.OAuthBearerLoginModule required;",
    }
    return {
        "sasl.enabled.mechanisms": ",".join(modules),
        **{
            f"{mechanism.lower()}.sasl.jaas.config": f"{_JAAS}.{module}"
            for mechanism, module in modules.items()
        },
    }


def _tls(security: BrokerSecurity) -> dict[str, str]:
    stores = {"keystore": security.certificate, "truststore": security.ca}
    files = {store: str(file.resolve()) for store, file in stores.items() if file}
    return {
        **{f"ssl.{store}.type": "PEM" for store in files},
        **{f"ssl.{store}.location": file for store, file in files.items()},
    }
