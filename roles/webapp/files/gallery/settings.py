# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings: environment variables GALLERY_*, read and checked once, at the start."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

_PREFIX = "GALLERY_"
_PREFIX_OF_KEYS = re.compile("([A-Za-z0-9_-][A-Za-z0-9_.-]*/)+")
# one PUT, and one CopyObject: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_LARGEST = 5 * 1024**3
_TYPES = ("avif", "bin", "csv", "gif", "jpeg", "jpg", "mp3", "mp4", "pdf", "png", "txt", "webp", "zip")


# What the environment may hold beside GALLERY_…: how the servers reach S3. HTTP_PROXY is not read.
WAYS_TO_S3 = ("AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT", "HTTPS_PROXY", "NO_PROXY")
_LATE = 3600  # seconds that an upload may last which began just in time


class BadSetting(Exception):
    """gallery cannot run with this environment; the text is one sentence that says why."""


class BadValue(BadSetting):
    """A variable of the environment that cannot be used.

    It has the variable's name, its value without passwords, and the reason with the way out.
    """

    def __init__(self, variable: str, value: str, reason: str) -> None:
        self.variable, self.value, self.reason = variable, value, reason
        super().__init__(f"{variable} is {repr(value) if value else 'empty'}: {reason}.")


@dataclasses.dataclass(frozen=True)
class Settings:
    """One gallery. A field `max_bytes` comes from the variable GALLERY_MAX_BYTES; fields without a value are required."""

    name: str
    """The host's name in the inventory: the header X-Served-By and the badge show it."""
    directory: str = ""
    """efs: where the files lie, for example /srv/files/gallery. It is made if only its parent exists."""
    mount: str = ""
    """efs: the path at which NFS must be mounted, for example /srv/files; empty: no mount is required."""
    storage: str = "efs"
    """The storage: efs or s3."""
    bucket: str = ""
    """s3: the bucket."""
    key_prefix: str = "gallery"
    """s3: below it lie incoming/, files/ and previews/."""
    public_prefix: str = ""
    """s3: below it lie the files instead, for example public."""
    public_access: bool = False
    """s3: true: the bucket's policy lets everybody read below the public prefix, so links are plain addresses."""
    region: str = ""
    """s3: the bucket's region; empty: where botocore finds it."""
    endpoint_url: str = ""
    """s3: where requests go; empty: Amazon's address for the region."""
    browser_endpoint_url: str = ""
    """s3: where browsers go, if it is another place than servers use."""
    ca_bundle: str = ""
    """s3: the file with the certificates that the endpoint is verified with; empty: the system's."""
    upload_url_ttl: float = 900.0
    """s3: seconds in which an upload must begin after it was asked for."""
    download_url_ttl: float = 3600.0
    """s3: seconds for which a link holds that was made just now; it is the same for half of them."""
    probe_interval: float = 10.0
    """s3: seconds from one check of the bucket to the next."""
    probe_timeout: float = 5.0
    """s3: seconds that such a check may take."""
    title: str = "Gallery"
    """What the page is called."""
    socket: str = ""
    """The unix socket to listen on. A socket passed by systemd (LISTEN_FDS) comes first."""
    port: int = 0
    """The port to listen on at 127.0.0.1, when there is no unix socket."""
    status: str = ""
    """The storage probe's file: JSON {"ok", "at": epoch seconds, "every": seconds, "problem"}; empty: no probe."""
    password_file: str = ""
    """The file whose first line is the password for uploading and deleting; the user name is ignored."""
    public_uploads: bool = False
    """True: everybody may upload and delete, and no password is asked for."""
    max_bytes: int = 2 * 1024**3
    """The largest file, in bytes."""
    max_files: int = 20
    """The most files in one request."""
    allowed_extensions: tuple[str, ...] = _TYPES
    """The extensions that may be uploaded, without dots."""
    storage_timeout: float = 5.0
    """Seconds that a call of the storage may take."""
    body_timeout: float = 30.0
    """Seconds without a byte of the body, or with fewer than 4 KiB in each, after which an upload is given up."""
    cleanup_after: float = 86400.0
    """Seconds after which what a killed server left of an upload is removed. It must be longer than any upload."""


def _whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError("a whole number is needed")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch("[0-9]{1,9}([.][0-9]{1,9})?", text) or float(text) == 0:
        raise ValueError("a number of seconds greater than 0 is needed")
    return float(text)


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
    if text.lower() not in words:
        raise ValueError("true or false is needed")
    return words[text.lower()]


def _extensions(text: str) -> tuple[str, ...]:
    extensions = tuple(sorted(set(text.lower().replace(",", " ").split())))
    if not extensions or not all(re.fullmatch("[a-z0-9]{1,8}", extension) for extension in extensions):
        raise ValueError("extensions of at most 8 letters and digits, without dots, are needed")
    return extensions


_REQUIRED = {"efs": ["directory"], "s3": ["bucket"]}
_REASONS = {"bucket": "storage s3 needs the name of a bucket"}
_READERS: dict[str, Callable[[str], Any]] = {
    "str": str, "int": _whole, "float": _seconds, "bool": _truth, "tuple[str, ...]": _extensions,
}  # fmt: skip


def _rules(settings: Settings) -> list[tuple[bool, str, str]]:
    """What must hold: (holds, variable, the reason and the way out)."""
    paths = ("mount", "directory", "socket", "status", "password_file", "ca_bundle")
    within = (
        settings.storage != "efs"
        or not settings.mount
        or settings.directory.startswith(settings.mount.rstrip("/") + "/")
    )
    return [
        (settings.storage in ("efs", "s3"), "STORAGE", "the storages are efs and s3"),
        (re.fullmatch("[!-~]{1,255}", settings.name) is not None, "NAME", "printable ASCII without blanks is needed"),
        *(((getattr(settings, path) or "/")[0] == "/", path.upper(), "an absolute path is needed") for path in paths),
        (within, "DIRECTORY", f"it must lie below GALLERY_MOUNT, which is {settings.mount}"),
        (settings.port < 65536, "PORT", "a port is at most 65535"),
        (settings.max_bytes > 0, "MAX_BYTES", "at least 1 is needed"),
        (settings.max_files > 0, "MAX_FILES", "at least 1 is needed"),
        (
            bool(settings.password_file) or settings.public_uploads,
            "PASSWORD_FILE",
            "set it, unless GALLERY_PUBLIC_UPLOADS is true",
        ),
        *(_rules_of_s3(settings) if settings.storage == "s3" else ()),
    ]


def _rules_of_s3(settings: Settings) -> list[tuple[bool, str, str]]:
    """What must hold with storage s3."""
    from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, errors

    own, public = settings.key_prefix.rstrip("/") + "/", settings.public_prefix.rstrip("/") + "/"
    prefix = "write words of letters, digits, _, . and -, none with a . in front, joined by /, such as"
    apart = not settings.public_prefix or not (own.startswith(public) or public.startswith(own))

    def is_address(url: str) -> bool:
        """Whether requests or browsers can be sent there; "" leaves it to Amazon's address."""
        try:
            form = re.fullmatch(r"https?://[^/?#@\s]+/?", url)
            return not url or (form is not None and bool(endpoint.by_url(url, "bucket", "")))
        except errors.EndpointError:
            return False

    host = "write http:// or https:// and a host, with a port if it needs one, and nothing after it"
    addresses = [
        (is_address(getattr(settings, name)), name.upper(), host) for name in ("endpoint_url", "browser_endpoint_url")
    ]
    least = settings.upload_url_ttl + _LATE
    return [
        (
            not endpoint.bucket_fault(settings.bucket),
            "BUCKET",
            "write the name of a bucket, 3 to 63 of a-z, 0-9, . and -, with a letter or digit at both ends",
        ),
        (bool(settings.region or settings.endpoint_url), "REGION", "name the region of the bucket, such as eu-central-1"),
        *addresses,
        (not settings.directory, "DIRECTORY", "it must be empty with storage s3"),
        (not settings.mount, "MOUNT", "it must be empty with storage s3"),
        (settings.max_bytes <= _LARGEST, "MAX_BYTES", "S3 takes at most 5 GiB (5120 MiB) in one request"),
        # the result of a ticket is kept until the bucket's lifecycle rule removes it, a day later
        (
            1 <= settings.upload_url_ttl <= 43200,
            "UPLOAD_URL_TTL",
            "the result of an upload is kept for a day, set 1 to 43200 seconds",
        ),
        (
            settings.cleanup_after >= least,
            "CLEANUP_AFTER",
            f"an upload that began just within GALLERY_UPLOAD_URL_TTL may last an hour, set at least {least:g}",
        ),
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
        (
            2 <= settings.download_url_ttl <= 604800,
            "DOWNLOAD_URL_TTL",
            "S3 takes presigned URLs of 2 seconds to 7 days, set 2 to 604800 seconds",
        ),
        (_PREFIX_OF_KEYS.fullmatch(own) is not None, "KEY_PREFIX", f"{prefix} gallery"),
        (not settings.public_prefix or _PREFIX_OF_KEYS.fullmatch(public) is not None, "PUBLIC_PREFIX", f"{prefix} public"),
        (
            bool(settings.public_prefix) or not settings.public_access,
            "PUBLIC_ACCESS",
            "GALLERY_PUBLIC_PREFIX is empty: name the prefix of the bucket that anybody may read, such as public",
        ),
        (
            apart,
            "PUBLIC_PREFIX",
            f"GALLERY_KEY_PREFIX is {settings.key_prefix}, and neither may lie in the other: choose another prefix",
        ),
    ]  # fmt: skip


def _check_proxy(environment: Mapping[str, str]) -> None:
    """Refuse a proxy by which no request to S3 could go."""
    from ansible_collections.samefiles.aws.plugins.module_utils._s3 import endpoint, errors

    for name in ("https_proxy", "HTTPS_PROXY"):
        try:
            endpoint.proxy_of(True, "s3.amazonaws.com", {name: environment.get(name, "")})
        except errors.EndpointError:
            shown = re.sub("^([^/:@]+://|//)?.*@", r"\1", environment[name])
            raise BadValue(name, shown, "write http://, a host and a port") from None


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that an environment says; a variable GALLERY_… that nothing reads is refused."""
    fields = {_PREFIX + field.name.upper(): field for field in dataclasses.fields(Settings)}
    values: dict[str, Any] = {}  # each of the type of its field
    for variable in sorted(name for name in environment if name.startswith(_PREFIX)):
        text = environment[variable].strip()
        if variable not in fields:
            raise BadValue(variable, text, f"it is not known; gallery knows {', '.join(sorted(fields))}")
        field = fields[variable]
        try:
            values[field.name] = _READERS[str(field.type)](text)
        except ValueError as fault:
            raise BadValue(variable, text, str(fault)) from None
    required = [field.name for field in fields.values() if field.default is dataclasses.MISSING]
    required += _REQUIRED.get(values.get("storage", "efs"), [])
    for name in required:
        if not values.get(name):
            raise BadValue(_PREFIX + name.upper(), "", _REASONS.get(name, "it is required"))
    settings = Settings(**values)
    for holds, name, needed in _rules(settings):
        if not holds:
            # an address may have a password in it
            shown = re.sub("//.*@", "//", environment.get(_PREFIX + name, ""))
            raise BadValue(_PREFIX + name, shown, needed)
    if settings.storage == "s3":
        _check_proxy(environment)
    return settings


def read_password(path: str) -> str:
    """The password in a file, "" when no file is named."""
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            password = file.readline().rstrip("\r\n")
    except (OSError, UnicodeError) as fault:
        why = getattr(fault, "strerror", None) or "it is not UTF-8"
        raise BadValue(f"{_PREFIX}PASSWORD_FILE", path, f"it cannot be read: {why}") from None
    if not password:
        raise BadValue(f"{_PREFIX}PASSWORD_FILE", path, "its first line is empty, write the password there")
    return password
