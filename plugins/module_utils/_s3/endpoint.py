# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a bucket is, and what its requests are signed with, as plain data."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from typing import Any, NamedTuple

from .errors import EndpointError

# letters, digits, dots and hyphens, as Amazon's naming rules have it; other S3 servers keep to them
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Keys(NamedTuple):
    """Credentials; shown nowhere."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Keys(...)"

    def __str__(self) -> str:
        return "Keys(...)"


class Endpoint(NamedTuple):
    """The endpoint of a bucket. virtual: the bucket is part of the host name, not of the path."""

    secure: bool
    host: str  # without the bucket
    port: int
    bucket: str
    region: str
    virtual: bool = False
    ca_file: str | None = None  # None: what the system trusts
    verify: bool = True
    proxy: tuple[str, int, str | None] | None = None  # host, port, USER:PASSWORD

    @property
    def name(self) -> str:
        """The host that a connection is made to, and that a certificate must have."""
        return f"{self.bucket}.{self.host}" if self.virtual else self.host

    @property
    def header(self) -> str:
        """The header Host: with the port where it is not the scheme's own."""
        usual = self.port == (443 if self.secure else 80)
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if usual else f"{name}:{self.port}"

    @property
    def base(self) -> str:
        """What the path of each request begins with."""
        return "/" if self.virtual else f"/{self.bucket}/"


def is_address(host: str) -> bool:
    """Whether a host is an IP address, to which no bucket can be prepended."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def by_url(url: str, bucket: str, region: str, style: str = "auto", **rest: Any) -> Endpoint:
    """The endpoint of a bucket.

    style: path, virtual or auto, which is virtual where a certificate can hold for it: not for addresses, localhost and
    bucket names with a dot. Raises EndpointError when the URL has more than scheme, host and port.
    """
    try:
        parsed = urllib.parse.urlsplit(url)
        host, port = parsed.hostname, parsed.port
    except ValueError:  # brackets that are not closed, or a port that is none
        raise EndpointError(f"endpoint_url has a host or a port that is none, got {_bare(url)!r}") from None
    if parsed.scheme not in ("http", "https") or not host or port == 0 or parsed.path.strip("/") or parsed.query:
        raise EndpointError(f"endpoint_url must be http:// or https://, a host and perhaps a port, got {_bare(url)!r}")
    port = port or (443 if parsed.scheme == "https" else 80)
    plain = is_address(host) or host == "localhost" or "." in bucket or "." not in host
    virtual = style == "virtual" or (style == "auto" and not plain)
    return Endpoint(parsed.scheme == "https", host, port, bucket, region, virtual, **rest)


def _bare(url: str) -> str:
    """A URL without the password that may be in it."""
    # an @ or / in a password makes an address wrong, and gets it shown
    return re.sub("^([^/:@]+://|//)?.*@", r"\1", url)


def bucket_fault(name: str) -> str:
    """What is wrong with a bucket's name, "" when nothing is."""
    if BUCKET.fullmatch(name) and ".." not in name and not is_address(name):
        return ""
    return f"bucket must be 3-63 of a-z, 0-9, '.' and '-', letters or digits at both ends, got {name!r}"


def proxy_of(secure: bool, host: str, environment: dict) -> tuple[str, int, str | None] | None:
    """The proxy that the environment names for a host, None for none: HTTPS_PROXY, HTTP_PROXY (lower case too), NO_PROXY."""
    names = ("https_proxy", "HTTPS_PROXY") if secure else ("http_proxy",)  # in CGI a visitor can set HTTP_PROXY
    url = next((environment[name] for name in names if environment.get(name)), "")
    if not url or _spared(host, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    wrong = f"{names[0]} must be http://, a host and a port, got {_bare(url)!r}"
    try:
        parsed = urllib.parse.urlsplit(url if "//" in url else f"//{url}")
        proxy, port = parsed.hostname, parsed.port
    except ValueError:
        raise EndpointError(wrong) from None
    if not proxy or port == 0 or parsed.scheme not in ("", "http"):
        raise EndpointError(wrong)
    credentials = None
    if parsed.username is not None:
        credentials = f"{urllib.parse.unquote(parsed.username)}:{urllib.parse.unquote(parsed.password or '')}"
    return proxy, port or 80, credentials


def _spared(host: str, names: str) -> bool:
    """Whether NO_PROXY excludes a host: by name, by domain, by network, or all with *."""
    for name in (word.strip().lower() for word in names.split(",")):
        if name == "*":
            return True
        bare = name.lstrip("*").lstrip(".")
        if bare and (host == bare or host.endswith(f".{bare}")):
            return True
        if is_address(host) and "/" in name:
            try:
                if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                    return True
            except ValueError:
                continue
    return False
