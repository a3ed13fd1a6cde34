"""What an operator may change about the features service."""

from __future__ import annotations

from predmesh_rpc.settings import ServiceSettings
from pydantic import Field, field_validator

from predmesh_features.redis_address import RedisAddress, parse_redis_url


class Settings(ServiceSettings):
    """Settings of the features service; variables begin with ``FEATURES_``."""

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    """Online store, for reading: ``redis://user:password@host:port/0`` or ``unix:///path``; may hold a password."""

    redis_write_url: str = Field(default="", repr=False)
    """The same store, for a user who may also write; empty for the one who reads."""

    redis_timeout_seconds: float = Field(default=1.0, gt=0)
    """A store that takes longer for a reply is down."""

    redis_max_in_flight: int = Field(default=1024, ge=1)
    """Lookups waiting for the store at once; more are refused."""

    @field_validator("redis_url", "redis_write_url")
    @classmethod
    def _is_a_redis(cls, url: str) -> str:
        if url:
            parse_redis_url(url)
        return url

    @property
    def read_address(self) -> RedisAddress:
        """Where to read."""
        return parse_redis_url(self.redis_url)

    @property
    def write_address(self) -> RedisAddress:
        """Where to write."""
        return parse_redis_url(self.redis_write_url or self.redis_url)
