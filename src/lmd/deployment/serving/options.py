"""What a server is told: where it listens, who may ask, and how much at once."""

from __future__ import annotations

import ipaddress
import os
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from lmd.errors import SettingsError
from lmd.fields import first_fault
from lmd.settings import Count, Positive, Settings

TOKEN = "LMD_SERVE_TOKEN"  # The variable that holds the token, so that it is in no list of processes.
LEAST_TOKEN = 16  # Letters of a token: a shorter one can be guessed.
Nearest = Literal["auto", "on", "off"]


class Options(Settings):
    """Where a server listens, its token and its limits."""

    host: str = "127.0.0.1"
    """the address to listen at; others than this machine's own need a token (ours: this machine alone)"""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """the port; 0 takes any that is free (ours)"""
    token: Annotated[str | None, Field(repr=False)] = None
    """what a request must know; None: none is asked for"""
    queue: Annotated[int, Field(ge=1, le=10_000)] = 64
    """requests that are in work or wait at once; more are told to come again, status 429 (ours)"""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """seconds until a request that is not answered yet gets the status 504 (ours)"""
    max_mb: Positive = 64.0
    """megabytes of a request, all its files together (ours)"""
    max_megapixels: Annotated[float, Field(ge=1, le=100)] = 50.0
    """million pixels of an image (ours)"""
    max_files: Count = 16
    """files of a request (ours)"""
    nearest: Nearest = "auto"
    """show the nearest training images: auto does where this machine alone can ask (ours)"""

    @field_validator("token")
    @classmethod
    def _can_be_sent(cls, token: str | None) -> str | None:
        if token is None:
            return token
        if len(token) < LEAST_TOKEN:
            raise ValueError(f"must have at least {LEAST_TOKEN} letters, has {len(token)}")
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("must be of ASCII letters, digits and marks, without blanks")
        return token

    @property
    def most_bytes(self) -> int:
        """The bytes of a request."""
        return int(self.max_mb * 1e6)

    @property
    def most_pixels(self) -> int:
        """The pixels of an image."""
        return int(self.max_megapixels * 1e6)

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the server."""
        return is_loopback(self.host)

    @property
    def shows_nearest(self) -> bool:
        """Whether training images are shown."""
        return self.is_local if self.nearest == "auto" else self.nearest == "on"


def options_of(**given: Any) -> Options:
    """Returns checked options; without a token the one of the environment is taken.

    Raises:
        SettingsError: a value that cannot be, or an address that others reach and no token.
    """
    if given.get("token") is None:
        given["token"] = os.environ.get(TOKEN) or None
    try:
        options = Options(**given)
    except ValidationError as error:
        raise SettingsError(f"lmd serve: {_fault(error)}") from None
    if options.token is None and not options.is_local:
        raise SettingsError(
            f"lmd serve: at the host {options.host} others than this machine can ask: set a token in the "
            f"environment variable {TOKEN}, or leave --host out"
        )
    return options


def _fault(error: ValidationError) -> str:
    """The first fault, in the words of the command; a token is never quoted."""
    first = error.errors()[0]
    if first["loc"] == ("token",):
        return f"the token {str(first['ctx']['error']) if 'ctx' in first else 'must be text'}"
    return "--" + first_fault(error).replace("_", "-", str(first["loc"][0]).count("_"))


def is_loopback(host: str) -> bool:
    """Returns whether an address is this machine's own, which no other can reach.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
