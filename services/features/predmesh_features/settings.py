"""What an operator may change about the features service."""

from __future__ import annotations

import ssl
from pathlib import Path

from predmesh_rpc.settings import ServiceSettings
from pydantic import Field, ValidationInfo, field_validator

from predmesh_features.redis_address import RedisAddress, parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_features.redis_tls import tls_context


class Settings(ServiceSettings):
    """Settings of the features service; variables begin with ``FEATURES_``."""

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    """Online store, for reading, as `parse_redis_url` takes it; may hold a password."""

    redis_write_url: str = Field(default="", repr=False)
    """The same store, for a user who may also write; empty for the one who reads."""

    redis_ca_file: Path | None = None
    """PEM certificates of those who may vouch for a server that speaks TLS; by default the system's."""

    redis_certificate_file: Path | None = None
    """Our own PEM certificate, for a server that asks for one."""

    redis_key_file: Path | None = Field(default=None, validate_default=True)
    """The certificate's private key; by default in the certificate's file."""

    redis_server_name: str = ""
    """Name in the servers' certificates where it is not the host's, as in a cluster that tells addresses."""

    redis_timeout_seconds: float = Field(default=1.0, gt=0)
    """A store that takes longer for a reply is down."""

    redis_max_in_flight: int = Field(default=1024, ge=1)
    """Lookups waiting for a server of the store at once; more are refused."""

    @field_validator("redis_url", "redis_write_url")
    @classmethod
    def _is_a_redis(cls, url: str, info: ValidationInfo) -> str:
        if url:
            address = parse_redis_url(url)
            if "redis_url" in info.data and bool(parse_redis_url(info.data["redis_url"]).seeds) != bool(address.seeds):
                raise ValueError("and the URL for reading must both name a cluster, or one server")
        return url

    @field_validator("redis_ca_file")
    @classmethod
    def _holds_certificates(cls, authorities: Path | None) -> Path | None:
        tls_context(authorities)
        return authorities

    @field_validator("redis_key_file")
    @classmethod
    def _is_the_certificates(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("redis_certificate_file")
        if key is not None and certificate is None:
            raise ValueError("needs a certificate beside it")
        tls_context(certificate=certificate, key=key)
        return key

    @property
    def read_address(self) -> RedisAddress:
        """Where to read."""
        return parse_redis_url(self.redis_url)

    @property
    def write_address(self) -> RedisAddress:
        """Where to write."""
        return parse_redis_url(self.redis_write_url or self.redis_url)

    @property
    def link_options(self) -> LinkOptions:
        """How to connect."""
        return LinkOptions(
            timeout_seconds=self.redis_timeout_seconds,
            max_in_flight=self.redis_max_in_flight,
            tls=self._tls,
            server_name=self.redis_server_name,
        )

    @property
    def _tls(self) -> ssl.SSLContext | None:
        if not (self.read_address.tls or self.write_address.tls):
            return None
        return tls_context(self.redis_ca_file, self.redis_certificate_file, self.redis_key_file)
