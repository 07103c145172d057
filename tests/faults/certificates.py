"""What brokers and workers show each other: certificates of one authority, later of another."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final, Self

import trustme

from tests.secure import pem

HOST: Final = "127.0.0.1"


class RotatedCertificates:
    """PEM files in a folder, of two authorities that everybody trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authorities = [trustme.CA(), trustme.CA()]
        self._current = 0

    @property
    def trusted(self) -> Path:
        """Both authorities."""
        return self._folder / "trusted.pem"

    @property
    def broker(self) -> Path:
        """Key and chain that brokers are to show; another file after each change."""
        return self._folder / f"broker-{self._current}.pem"

    @property
    def worker(self) -> Path:
        """Key and chain that workers show which start now; always the same file."""
        return self._folder / "worker.pem"

    @property
    def settings(self) -> dict[str, str]:
        """What a spec says of them."""
        own = str(self.worker)
        return {
            "protocol": "SASL_SSL",
            "ca": str(self.trusted),
            "certificate": own,
            "key": own,
        }

    def issue(self) -> Self:
        """Write all files."""
        self._folder.mkdir()
        for authority in self._authorities:
            authority.cert_pem.write_to_path(self.trusted, append=True)
        self._issue()
        return self

    def change(self) -> None:
        """Have everything be of the other authority."""
        self._current += 1
        self._issue()

    def shows(self, port: int) -> bool:
        """Whether who listens at a port shows a certificate of the authority that is in use."""
        context = ssl.create_default_context(cadata=self._authority.cert_pem.bytes().decode())
        context.load_cert_chain(self.worker)
        try:
            with (
                socket.create_connection((HOST, port), timeout=5) as connection,
                context.wrap_socket(connection, server_hostname=HOST),
            ):
                return True
        except ssl.SSLCertVerificationError:
            return False

    @property
    def _authority(self) -> trustme.CA:
        return self._authorities[self._current % len(self._authorities)]

    def _issue(self) -> None:
        self.broker.write_bytes(pem(self._authority.issue_cert(HOST)))
        self.worker.write_bytes(pem(self._authority.issue_cert("worker.example")))
