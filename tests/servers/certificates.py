"""Certificates of a test authority, created with the ``openssl`` program."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from livesegments.local_servers import ServerError


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: certificate, unencrypted key, and both in one."""

    certfile: Path
    keyfile: Path
    both: Path


class Authority:
    """A certificate authority in a folder.

    Parameters
    ----------
    folder
        Folder of all files; created when missing.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            raise ServerError("no openssl: run scripts/install-servers")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = folder / "ca.key"
        self.cafile = folder / "ca.pem"
        """Its own certificate."""
        self._make_key(self._key)
        _openssl(
            *("req", "-x509", "-new", "-key", str(self._key), "-days", "30"),
            *("-subj", "/CN=test authority", "-out", str(self.cafile)),
        )

    def issue(self, name: str, *, address: str = "") -> Certificate:
        """Issue a certificate for ``CN=name``, and for an IP address when it is a server's."""
        made = Certificate(*(self._folder / f"{name}.{kind}" for kind in ("pem", "key", "both")))
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:{address}\n" if address else "")
        self._make_key(made.keyfile)
        _openssl(
            *("req", "-new", "-key", str(made.keyfile)),
            *("-subj", f"/CN={name}", "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.cafile)),
            *("-CAkey", str(self._key), "-CAcreateserial", "-days", "30"),
            *("-extfile", str(extensions), "-out", str(made.certfile)),
        )
        made.both.write_text(made.keyfile.read_text() + made.certfile.read_text())
        return made

    def encrypted_key(self, certificate: Certificate, password: str) -> Path:
        """Write an encrypted copy of a certificate's key."""
        file = certificate.keyfile.with_suffix(".encrypted")
        _openssl(
            *("pkey", "-in", str(certificate.keyfile), "-aes256"),
            *("-passout", f"pass:{password}", "-out", str(file)),
        )
        return file

    def _make_key(self, file: Path) -> None:
        _openssl(
            *("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-out", str(file)),
        )


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"openssl {arguments[0]}: {done.stderr}")
