"""What TLS towards Redis needs of files: whom we trust, and who we are."""

from __future__ import annotations

import ssl
from pathlib import Path


def tls_context(
    authorities: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A context that checks the server's certificate and name, from PEM files.

    Args:
        authorities: certificates of those who may vouch for a server; None for the system's.
        certificate: ours, with its chain, for a server that asks; None where none does.
        key: its private key, not encrypted; None where `certificate` holds it too.

    Raises:
        ValueError: a file cannot be used; the message says which kind, not where it is.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError):
        raise ValueError("is no file of PEM certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            # An encrypted key would ask for its password at the terminal.
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ssl.SSLError, _Encrypted):
            raise ValueError("and the certificate are no PEM files of one pair, the key not encrypted") from None
    return context


class _Encrypted(Exception):
    """The key is encrypted."""


def _no_password() -> str:
    raise _Encrypted
