# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user wants mounted: checks it, each fault in one sentence, and fills in what follows from it."""

from __future__ import annotations

import dataclasses
import ipaddress
import posixpath
import re

from . import nfs

# The module options that describe mounts; their documentation is the fragment samefiles.aws.mounts.
_MOUNT = {
    "file_system": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "directory": {"type": "str", "default": "/"},
    "transport": {"type": "str", "choices": list(nfs.TRANSPORTS)},
    "access_point": {"type": "str"},
    "iam": {"type": "bool", "default": False},
    "region": {"type": "str"},
    "mount_target": {"type": "str"},
    "ca_file": {"type": "str"},
    "options": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
    "replace": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["mounted", "absent"], "default": "mounted"},
}
ARGUMENTS = {
    "mounts": {"type": "list", "elements": "dict", "required": True, "options": _MOUNT},
    "transport": {"type": "str", "choices": list(nfs.TRANSPORTS), "default": "stunnel"},
    "region": {"type": "str"},
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One mount as it should be; label is its place in the user's list, for messages."""

    label: str
    file_system: str
    path: str
    directory: str
    transport: str
    region: str
    state: str
    access_point: str | None = None
    iam: bool = False
    mount_target: str | None = None
    ca_file: str | None = None
    options: tuple[str, ...] = ()
    owner: str | None = None
    group: str | None = None
    mode: int | None = None
    replace: bool = False

    @property
    def dns_name(self) -> str:
        """The file system's name; also the name in its certificate."""
        return nfs.dns_name(self.file_system, self.region)

    @property
    def host(self) -> str:
        """What a client connects to: the mount target where one is named, else the file system's name."""
        return self.mount_target or self.dns_name

    @property
    def read_only(self) -> bool:
        """True when nothing can be written through this mount."""
        return "ro" in self.options


def _item(raw: dict, number: int, region: str | None, transport: str) -> Wanted:
    mode = raw.get("mode")
    return Wanted(
        label=f"mounts[{number}]",
        file_system=raw["file_system"],
        path=raw["path"],
        directory=raw.get("directory") or "/",
        transport=raw.get("transport") or transport,
        region=raw.get("region") or region or "",
        state=raw.get("state") or "mounted",
        access_point=raw.get("access_point"),
        iam=bool(raw.get("iam")),
        mount_target=raw.get("mount_target"),
        ca_file=raw.get("ca_file"),
        options=tuple(raw.get("options") or ()),
        owner=raw.get("owner"),
        group=raw.get("group"),
        mode=int(mode, 8) if mode and re.fullmatch("[0-7]{3,4}", mode) else None,
        replace=bool(raw.get("replace")),
    )


def _path_faults(label: str, path: str) -> list[str]:
    if not path.startswith("/"):
        return [f"{label} must be absolute, got {path!r}"]
    if posixpath.normpath(path) != path or path.startswith("//"):
        normal = "/" + posixpath.normpath(path).lstrip("/")
        return [f"{label} must be written without '.', '..', double and trailing slashes, got {path!r}: use {normal!r}"]
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        return [f"{label} must not contain control characters, got {path!r}"]
    return []


def _option_faults(label: str, options: tuple[str, ...]) -> list[str]:
    faults: list[str] = []
    seen: dict[str, str] = {}
    for option in options:
        key = option.partition("=")[0]
        name = f"{label}.options"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*(=[^\s,]+)?", option):
            faults.append(f"{name} must hold single options such as 'ro' or 'timeo=300', got {option!r}")
        elif key in nfs.REFUSED:
            faults.append(f"{name} must not contain {key!r}: {nfs.REFUSED[key]}")
        elif key in ("nfsvers", "vers") and option.partition("=")[2] not in nfs.NFS_VERSIONS:
            faults.append(f"{name} asks for {option!r}, EFS speaks {' and '.join(nfs.NFS_VERSIONS)}: leave it out")
        elif key in nfs.SWITCHES and "=" in option:
            faults.append(f"{name} has {option!r}, but {key!r} takes no value: write {key!r}")
        elif option.startswith("x-systemd.") or key in ("_netdev", "nofail"):
            faults.append(f"{name} must not contain {key!r}: it is set for every mount, leave it out")
        elif nfs.option_key(option) in seen:
            first = seen[nfs.option_key(option)]
            faults.append(f"{name} has {first!r} and {option!r}, which decide the same thing: keep one of them")
        seen.setdefault(nfs.option_key(option), option)
    limits = sorted(key for key in seen if key.startswith(("acreg", "acdir")))
    if "actimeo" in seen and limits:
        faults.append(
            f"{label}.options has {seen['actimeo']!r} and {seen[limits[0]]!r}, which decide the same thing: keep one"
        )
    return faults


def _shared_faults(item: Wanted, first: Wanted) -> list[str]:
    """Options that two mounts of one file system must have in common: the kernel uses one value for both."""
    faults = []
    for key in nfs.SHARED:
        mine, other = (
            next((option for option in nfs.nfs_options(mount.options) if option.startswith(f"{key}=")), "")
            for mount in (item, first)
        )
        if mine != other:
            faults.append(
                f"{item.label}.options asks for {mine}, {first.label} mounts {item.file_system} with {other}: the kernel "
                "uses one for both, make them equal"
            )
    return faults


def _name_faults(raw: dict, item: Wanted) -> list[str]:
    faults = []
    label = item.label
    if not nfs.FILE_SYSTEM.fullmatch(item.file_system):
        faults.append(
            f"{label}.file_system must be 'fs-' and 8 or 17 hexadecimal digits, got {item.file_system!r}: "
            "see the EFS console or `aws efs describe-file-systems`"
        )
    if item.state == "mounted" and not nfs.REGION.fullmatch(item.region):
        faults.append(f"{label}.region must be a region such as 'eu-central-1', got {item.region!r}")
    if item.mount_target:
        try:
            ipaddress.ip_address(item.mount_target)
        except ValueError:
            faults.append(f"{label}.mount_target must be the IP address of a mount target, got {item.mount_target!r}")
    if raw.get("mode") and item.mode is None:
        faults.append(f"{label}.mode must be an octal number in quotes such as '0750', got {raw['mode']!r}")
    if item.ca_file and not item.ca_file.startswith("/"):
        faults.append(f"{label}.ca_file must be absolute, got {item.ca_file!r}")
    return faults


def _transport_faults(item: Wanted) -> list[str]:
    faults = []
    label = item.label
    if item.transport != "efs-utils":
        for name, given in (("iam", item.iam), ("access_point", item.access_point)):
            if given:
                faults.append(
                    f"{label}.{name} needs transport: efs-utils, got {item.transport!r}: "
                    "only mount.efs makes the client certificate that carries it"
                )
    if item.access_point and not nfs.ACCESS_POINT.fullmatch(item.access_point):
        faults.append(f"{label}.access_point must be 'fsap-' and 17 hexadecimal digits, got {item.access_point!r}")
    if item.access_point and item.directory != "/":
        faults.append(
            f"{label}.directory must be left out with an access point, which has its own, got {item.directory!r}"
        )
    if item.transport == "plain" and item.ca_file:
        faults.append(f"{label}.ca_file has no effect with transport: plain, which has no TLS: leave it out")
    if item.access_point and (item.owner or item.group or item.mode is not None):
        faults.append(
            f"{label}.owner, group and mode cannot be set through an access point: set them in its CreationInfo"
        )
    return faults


def _item_faults(raw: dict, item: Wanted) -> list[str]:
    faults = _path_faults(f"{item.label}.path", item.path)
    if item.path == "/":
        faults.append(
            f"{item.label}.path must not be '/', the root of the server: choose a directory such as /srv/files"
        )
    faults += _path_faults(f"{item.label}.directory", item.directory)
    return faults + _name_faults(raw, item) + _transport_faults(item) + _option_faults(item.label, item.options)


def _pair_faults(items: list[Wanted]) -> list[str]:
    """Faults that lie between two mounts."""
    faults: list[str] = []
    paths: dict[str, Wanted] = {}
    systems: dict[str, Wanted] = {}
    for item in items:
        if item.path in paths:
            faults.append(f"{item.label}.path is {item.path!r}, which {paths[item.path].label} has already: remove one")
        paths.setdefault(item.path, item)
        if item.state != "mounted":
            continue
        first = systems.setdefault(item.file_system, item)
        if item.transport != first.transport:
            faults.append(
                f"{item.label}.transport is {item.transport!r}, {first.label} mounts {item.file_system} with "
                f"{first.transport!r}: use one, the kernel would put both on one connection"
            )
            continue
        if first is not item and item.access_point == first.access_point:
            faults += _shared_faults(item, first)
        if item.transport == "stunnel":
            for name in ("region", "mount_target", "ca_file"):
                if getattr(item, name) != getattr(first, name):
                    faults.append(
                        f"{item.label}.{name} is {getattr(item, name)!r}, {first.label}.{name} is "
                        f"{getattr(first, name)!r}: both use the one tunnel of {item.file_system}, make them equal"
                    )
    return faults


def wanted(mounts: list[dict], region: str | None, transport: str) -> tuple[list[Wanted], list[str]]:
    """The mounts as data, and every fault of the user's list as a sentence; with faults nothing must be done."""
    items = [_item(raw, number, region, transport) for number, raw in enumerate(mounts)]
    faults = []
    for raw, item in zip(mounts, items):
        faults += _item_faults(raw, item)
    return items, faults + _pair_faults(items)
