"""TLS checks ahead of a connection, whose own errors name neither a file nor a setting."""

import socket
import ssl
from pathlib import Path

PROBE_SECONDS = 3.0
_OTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def check_files(settings: str, cafile: str, certfile: str, keyfile: str, password: str) -> None:
    """Load certificates and key, PEM files or empty for none, as a connection would.

    ``settings`` is the prefix of their settings' names, such as ``LIVESEGMENTS_KAFKA_SSL_``. The
    key may be in the certificate's file.

    Raises `ValueError` if a file cannot be used; names the setting and the file.
    """
    for name, file in (("CAFILE", cafile), ("CERTFILE", certfile), ("KEYFILE", keyfile)):
        try:
            Path(file or "/dev/null").read_bytes()
        except OSError as error:
            raise ValueError(f"{settings}{name}: {file}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cafile:
        try:
            context.load_verify_locations(cafile)
        except ssl.SSLError:
            raise ValueError(f"{settings}CAFILE: {cafile} holds no certificate (PEM)") from None
    if certfile:
        _check_pair(context, settings, certfile, keyfile, password)


def _check_pair(
    context: ssl.SSLContext, settings: str, certfile: str, keyfile: str, password: str
) -> None:
    key, key_setting = (keyfile, "KEYFILE") if keyfile else (certfile, "CERTFILE")
    try:
        # Without a password callback OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(certfile, keyfile or None, lambda: password)
    except ssl.SSLError as error:
        text = Path(key).read_text(errors="replace")
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"{key_setting}: {key} is not the key of {certfile}"
        elif "CERTIFICATE" not in Path(certfile).read_text(errors="replace"):
            why = f"CERTFILE: {certfile} holds no certificate (PEM)"
        elif "PRIVATE KEY" not in text:
            why = f"{key_setting}: {key} holds no private key (PEM)"
        elif "ENCRYPTED" in text:
            why = (
                f"KEY_PASSWORD: does not open {key}"
                if password
                else (f"{key_setting}: {key} is encrypted, and no password is given for it")
            )
        else:
            why = f"CERTFILE: {certfile} cannot be used with {key}: {error}"
        raise ValueError(f"{settings}{why}") from None


def speaks_tls(host: str, port: int) -> bool:
    """Return whether a server answers a TLS handshake; its certificate is not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=PROBE_SECONDS) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError as error:
        return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def explain(fault: ssl.SSLError, settings: str, certfile: str, without: str) -> str:
    """Return a server's refusal, and the setting to look at.

    ``settings`` is the prefix of the setting names, ``certfile`` the client's certificate, and
    ``without`` the refusal of a client without one.
    """
    if isinstance(fault, ssl.SSLCertVerificationError):
        name = "CHECK_HOSTNAME" if fault.verify_code in _OTHER_NAME else "CAFILE"
        why = fault.verify_message.rstrip(".")
        return f"has a certificate that is not trusted: {why} ({settings}{name})"
    what = f"refuses the certificate {certfile}" if certfile else without
    return f"{what} ({settings}CERTFILE): {fault.reason or fault.strerror}"
