# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what efs_mount does: wanted mounts and facts in, steps in order out. No I/O."""

from __future__ import annotations

import dataclasses

from .._host import systemd
from .._host.steps import EnableUnit, ReloadSystemd, RemoveFile, Step, StopUnit, WriteFile
from . import fstab, identify, mount_unit, nfs, read_ahead, tunnel_conf, tunnel_unit
from .facts import Facts, Mountpoint
from .fstab import Entry, Fstab, Line
from .spec import Wanted
from .steps import (
    GuardMountpoint,
    MakeNestedMountpoint,
    Mount,
    OpenMountpoint,
    RestartTunnel,
    SetReadAhead,
    SetRoot,
    StartTunnel,
    Unmount,
)
from .tables import Options
from .tunnels import Tunnel, known_port, tunnels


@dataclasses.dataclass
class Plan:
    """What to do now, what waits for a moment without traffic, and why nothing can be done."""

    steps: list[Step] = dataclasses.field(default_factory=list)
    pending: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    to_mount: list[Wanted] = dataclasses.field(default_factory=list)  # the preflight checks them
    # one for each tunnel that starts with another configuration
    tunnelled: list[Wanted] = dataclasses.field(default_factory=list)
    unlisted: list[str] = dataclasses.field(default_factory=list)
    verdicts: dict[str, identify.Verdict] = dataclasses.field(default_factory=dict)


def _inside(path: str, parent: str) -> bool:
    return path.startswith(parent + "/")


def _same_file_system(entry: Entry, item: Wanted, facts: Facts) -> bool:
    """True when a line of fstab that is not marked as ours mounts the wanted file system all the same."""
    host = identify.split_source(entry.source)[0]
    if host in (item.file_system, item.mount_target) or host.startswith(item.file_system + "."):
        return True
    return host == "127.0.0.1" and (entry.option("port") or "") == str(known_port(item.file_system, facts))


def _entries(item: Wanted, facts: Facts) -> tuple[list[Entry], list[Entry]]:
    """The lines of fstab for an item's path: those that are ours to change, and unmanaged ones."""
    ours: list[Entry] = []
    unmanaged: list[Entry] = []
    for entry in facts.fstab.entries:
        if entry.path == item.path:
            mine = entry.file_system is not None or _same_file_system(entry, item, facts)
            (ours if mine or item.replace else unmanaged).append(entry)
    return ours, unmanaged


def _judge(item: Wanted, facts: Facts) -> identify.Verdict:
    mount = facts.at(item.path)
    if mount is None:
        return identify.Verdict("absent")
    if item.state == "mounted":
        verdict = identify.judge(item, mount, facts)
        if verdict.what == "right" and _line_forces_remount(item, facts):
            return identify.Verdict("wrong", "its options in fstab differ in one that the mount table does not show")
        return verdict
    live = identify.inspect(mount, facts)
    ours = live.file_system == item.file_system or identify.made_by_our_line(mount, live, facts)
    return identify.Verdict("right" if ours else "unmanaged", f"it is {live.says}")


def _line_forces_remount(item: Wanted, facts: Facts) -> bool:
    """True when our line has other options than wanted that only the line shows."""
    for entry in _entries(item, facts)[0]:
        if entry.file_system is None:
            continue
        current = _pairs(entry.options)
        silent = {option for option in item.options if not nfs.comparable(option)}
        if silent - current or (item.transport == "efs-utils" and _asks_otherwise(item, current)):
            return True
    return False


def _asks_otherwise(item: Wanted, current: set[str]) -> bool:
    """True when a line asks mount.efs for another certificate, or another route, than is wanted."""
    keys = ("tls", "iam", "region", "accesspoint", "mounttargetip", "cafile")
    wanted = fstab.our_line(item, None).options
    return {pair for pair in _pairs(wanted) if pair.partition("=")[0] in keys} != {
        pair for pair in current if pair.partition("=")[0] in keys
    }


def _pairs(options: Options) -> set[str]:
    return {key if value is None else f"{key}={value}" for key, value in options}


class Planner:
    """Builds one plan: the problems, what waits, and the steps."""

    def __init__(self, items: list[Wanted], facts: Facts, safe: bool):
        self.items = sorted(items, key=lambda item: item.path.count("/"))  # parents first
        self.facts = facts
        self.safe = safe
        self.plan = Plan()
        self.tunnels = tunnels(items, facts)
        self.verdicts = {item.path: _judge(item, facts) for item in items}
        self.plan.verdicts = self.verdicts
        self.replaced: set[str] = set()  # paths to be unmounted
        self.deferred: set[str] = set()  # paths of which nothing is done now
        self.started: set[str] = set()  # units that are started before anything else

    def make(self) -> Plan:
        """The plan; with problems it has no steps."""
        for item in self.items:
            self._problems(item)
        self._choose_replaced()
        self._choose_deferred()
        self._report_unlisted()
        if not self.plan.problems:
            self._steps()
        return self.plan

    # problems

    def _problems(self, item: Wanted) -> None:
        verdict = self.verdicts[item.path]
        at = f"{item.label}: {item.path}"
        say = self.plan.problems.append
        if verdict.what == "unmanaged" and not item.replace:
            say(
                f"{at} already holds a mount that is not ours ({verdict.why}): unmount it, or set replace: true for this mount"
            )
        for entry in _entries(item, self.facts)[1]:
            if item.state == "mounted":
                say(
                    f"{at} has a line in fstab that is not ours (line {entry.number + 1}, {entry.source}): "
                    "remove it, or set replace: true for this mount"
                )
        if item.state == "mounted":
            self._mountpoint_problems(item, verdict)
            self._host_problems(item, verdict)

    def _mountpoint_problems(self, item: Wanted, verdict: identify.Verdict) -> None:
        mountpoint = self.facts.mountpoints.get(item.path, Mountpoint("unknown"))
        at = f"{item.label}: {item.path}"
        listing = ", ".join(mountpoint.names)
        if mountpoint.file_type == "other":
            self.plan.problems.append(f"{at} is not a directory: move it away")
        elif mountpoint.file_type == "symlink":
            self.plan.problems.append(f"{at} is reached through a symbolic link: write its real path {listing}")
        elif mountpoint.names and verdict.what in ("absent", "unmanaged"):
            self.plan.problems.append(
                f"{at} holds files that the mount would hide ({listing}): move them away, nothing was touched"
            )
        elif mountpoint.names:
            self.plan.warnings.append(f"{at}: the mount hides files of the server's own disk ({listing})")

    def _host_problems(self, item: Wanted, verdict: identify.Verdict) -> None:
        say = self.plan.problems.append
        root = self.facts.roots.get(item.path)
        tunnel = self.tunnels.get(item.file_system)
        if verdict.what in ("right", "wrong", "unproven") and root and root.fault == "hung":
            say(
                f"{item.label}: {item.file_system} at {item.path} does not answer: see whether its mount target can be "
                "reached and works; processes that use it wait until it does"
            )
        elif verdict.what == "unproven":
            say(f"{item.label}: {item.path} cannot be proved to be {item.file_system}: {verdict.why}")
        if tunnel and tunnel.blocked:
            say(
                f"{item.label}: the port {tunnel.port} of the tunnel of {item.file_system} is held by {tunnel.blocked}: stop it"
            )
        for database, name in (("user", item.owner), ("group", item.group)):
            if name and f"{database}:{name}" not in self.facts.ids:
                word = "owner" if database == "user" else "group"
                say(
                    f"{item.label}.{word} is {name!r}, which this server does not know: create it first, or give its number"
                )
        if item.transport in self.facts.missing:
            self.plan.warnings.append(self.facts.missing[item.transport])

    # what is unmounted, and what is deferred

    def _choose_replaced(self) -> None:
        for item in self.items:
            verdict = self.verdicts[item.path]
            unwanted = item.state == "absent" and verdict.what != "absent"
            if unwanted or verdict.what in ("wrong", "wrong_server", "unmanaged"):
                self.replaced.add(item.path)
        managed = {item.path for item in self.items}
        for path in sorted(self.replaced):
            for inner in self.facts.below(path):
                if inner in managed:
                    self.replaced.add(inner)
                else:
                    self.plan.problems.append(
                        f"{path} has to be unmounted, but {inner} is mounted inside: unmount it first"
                    )

    def _restarts(self, tunnel: Tunnel) -> bool:
        # a process that is connected to another server runs with a configuration that is on no disk any more
        wrong_server = any(
            item.file_system == tunnel.file_system and self.verdicts[item.path].what == "wrong_server"
            for item in self.items
        )
        return tunnel.running and (tunnel.drift or wrong_server)

    def _why(self, item: Wanted) -> str:
        """Why the item interrupts, "" when it does not."""
        tunnel = self.tunnels.get(item.file_system) if item.state == "mounted" else None
        if item.path in self.replaced:
            again = (
                f"mount {item.file_system} at {item.path} again" if item.state == "mounted" else f"unmount {item.path}"
            )
            why = self.verdicts[item.path].why
            return f"{again}: {why}" if why and item.state == "mounted" else again
        if tunnel and self._restarts(tunnel):
            return f"restart the tunnel of {item.file_system}, which {item.path} uses: its configuration differs"
        return ""

    def _choose_deferred(self) -> None:
        if not self.safe:
            return
        for item in self.items:
            why = self._why(item)
            if why:
                self.deferred.add(item.path)
                self.plan.pending.append(why)
        for item in self.items:  # what uses a deferred mount or its tunnel is deferred, too
            depends = any(
                other.path in self.deferred
                and (_inside(item.path, other.path) or other.file_system == item.file_system)
                for other in self.items
            )
            if depends and item.path not in self.deferred and self.verdicts[item.path].what != "right":
                self.deferred.add(item.path)
                self.plan.pending.append(f"mount {item.file_system} at {item.path}, after the above")

    def _report_unlisted(self) -> None:
        listed = {item.path for item in self.items}
        for entry in self.facts.fstab.entries:
            system = entry.file_system
            if system is not None and entry.path not in listed:
                self.plan.unlisted.append(entry.path)
                self.plan.warnings.append(
                    f"{entry.path} ({system}) was mounted by this module and is not listed any more: it stays; "
                    "list it with state: absent to unmount it"
                )

    # the steps

    def _now(self, state: str) -> list[Wanted]:
        return [item for item in self.items if item.state == state and item.path not in self.deferred]

    def _steps(self) -> None:
        edited = self._new_fstab()
        files = self._wanted_files()
        written = self._start_tunnels()
        self._unmounts()
        self._stops(self._orphans(edited))
        self._writes({path: text for path, text in files.items() if path not in written}, edited)
        changed = any(isinstance(step, (StopUnit, WriteFile, RemoveFile)) for step in self.plan.steps)
        starts = self._enables_and_starts()
        mounts = self._mounts()
        if changed or any(isinstance(step, (StartTunnel, RestartTunnel, Mount)) for step in starts + mounts):
            self._reload()
        self.plan.steps += starts + mounts

    def _add(self, step: Step) -> None:
        self.plan.steps.append(step)

    def _start_tunnels(self) -> set[str]:
        """Start, before anything else, the tunnels that do not run and that live mounts wait for.

        A mount without its tunnel cannot be unmounted, and systemd cannot read its units again while it exists (the fstab
        generator reads every mountpoint). To start a tunnel interrupts nobody, so `safe` does it as well. Returns the
        files that are written for that.
        """
        done: set[str] = set()
        ports = {mount.option("port") for mount in self.facts.mounts}
        for tunnel in self.tunnels.values():
            if tunnel.running or str(tunnel.port) not in ports:
                continue
            for path, text in tunnel.files.items():
                self._write(path, text)
                done.add(path)
            self._add(StartTunnel(f"start {tunnel.unit}", tunnel.unit, tunnel.port))
            self.started.add(tunnel.unit)
        return done

    def _used_tunnels(self) -> list[Tunnel]:
        systems = dict.fromkeys(item.file_system for item in self._now("mounted"))
        return [self.tunnels[system] for system in systems if system in self.tunnels]

    def _reload(self) -> None:
        self._add(ReloadSystemd("make systemd read its units and fstab again"))

    def _write(self, path: str, text: str) -> None:
        current = self.facts.files.get(path)
        if current != text:
            self._add(WriteFile(f"{'change' if current is not None else 'write'} {path}", path, text))

    def _unmounts(self) -> None:
        for item in reversed(self.items):
            if item.path in self.replaced and item.path not in self.deferred:
                why = self.verdicts[item.path].why
                self._add(Unmount(f"unmount {item.path}" + (f" ({why})" if why else ""), item.path))

    def _new_fstab(self) -> Fstab:
        changes: dict[int, Line | None] = {}
        new = []
        for item in self._now("mounted") + self._now("absent"):
            ours = _entries(item, self.facts)[0]
            line = self._line(item) if item.state == "mounted" else None
            for entry in ours:
                # an equal line stays where it is; else the first is replaced and the others go
                changes[entry.number] = None
            text = line.render() if line else None
            keep = next((entry for entry in ours if entry.raw == text), ours[0] if ours else None)
            if line and keep:
                changes[keep.number] = line
            elif line:
                new.append(line)
        return self.facts.fstab.edited(changes, new)

    def _line(self, item: Wanted) -> Line:
        tunnel = self.tunnels.get(item.file_system)
        return fstab.our_line(item, tunnel.port if tunnel else None)

    def _wanted_files(self) -> dict[str, str]:
        files: dict[str, str] = {}
        for item in self._now("mounted"):
            if item.file_system in self.tunnels:
                files.update(self.tunnels[item.file_system].files)
            unit = mount_unit.unit_name(item.path)
            files[systemd.unit_path(unit)] = mount_unit.unit_text(item)
        return files

    def _orphans(self, after_edit: Fstab) -> list[str]:
        """Units of ours that this run leaves without a mount."""
        before = {entry.file_system for entry in self.facts.fstab.entries if entry.file_system is not None}
        listed = {item.file_system for item in self.items}
        waiting = {item.file_system for item in self.items if item.path in self.deferred}
        after = {
            entry.file_system
            for entry in after_edit.entries
            if entry.file_system is not None and entry.fstype != "efs" and "127.0.0.1" in entry.source
        }
        units = [tunnel_unit.unit_name(system) for system in sorted((before | listed) - after - waiting)]
        units += [mount_unit.unit_name(item.path) for item in self._now("absent")]
        return [unit for unit in units if systemd.unit_path(unit) in self.facts.files]

    def _stops(self, units: list[str]) -> None:
        for unit in units:
            self._add(StopUnit(f"stop and disable {unit}", unit))
        for unit in units:
            system = tunnel_unit.file_system_of(unit)
            for path in [systemd.unit_path(unit)] + ([tunnel_conf.conf_path(system)] if system else []):
                if path in self.facts.files:
                    self._add(RemoveFile(f"remove {path}", path))

    def _writes(self, files: dict[str, str], edited: Fstab) -> None:
        for path, text in sorted(files.items()):
            self._write(path, text)
        if edited.text != self.facts.fstab.text:
            text = f"change the lines of {fstab.PATH} that belong to our mounts"
            self._add(WriteFile(text, fstab.PATH, edited.text))

    def _enables_and_starts(self) -> list[Step]:
        steps: list[Step] = []
        used = self._used_tunnels()
        retries = [mount_unit.unit_name(item.path) for item in self._now("mounted")]
        for unit in [tunnel.unit for tunnel in used] + retries:
            if unit not in self.facts.enabled:
                steps.append(EnableUnit(f"enable {unit}", unit))
        for tunnel in used:
            if not tunnel.running and tunnel.unit not in self.started:
                steps.append(StartTunnel(f"start {tunnel.unit}", tunnel.unit, tunnel.port))
            elif self._restarts(tunnel):
                steps.append(RestartTunnel(f"restart {tunnel.unit}", tunnel.unit, tunnel.port))
            if tunnel.drift:
                self.plan.tunnelled.append(next(item for item in self.items if item.file_system == tunnel.file_system))
        return steps

    def _mounts(self) -> list[Step]:
        steps: list[Step] = []
        for item in self._now("mounted"):
            to_mount = item.path in self.replaced or self.verdicts[item.path].what == "absent"
            steps += self._mountpoint_steps(item, to_mount)
            if to_mount:
                self.plan.to_mount.append(item)
                what = (
                    f"access point {item.access_point} of {item.file_system}" if item.access_point else item.file_system
                )
                directory = "" if item.directory == "/" else f" (its directory {item.directory})"
                text = f"mount {what}{directory} at {item.path} over {item.transport}"
                steps.append(Mount(text, item.path, item))
            steps += self._read_ahead_steps(item, to_mount) + self._root_steps(item, to_mount)
        for item in self._now("absent"):
            mountpoint = self.facts.mountpoints.get(item.path)
            if (
                mountpoint
                and mountpoint.file_type == "directory"
                and mountpoint.how in ("immutable", "mode")
                and mountpoint.guarded
            ):
                steps.append(OpenMountpoint(f"open the empty mountpoint {item.path} (mode 0755)", item.path))
        return steps

    def _mountpoint_steps(self, item: Wanted, to_mount: bool) -> list[Step]:
        mountpoint = self.facts.mountpoints.get(item.path, Mountpoint("unknown"))
        nested = any(_inside(item.path, other.path) for other in self.items if other.state == "mounted")
        if nested or mountpoint.file_type == "shared":
            if to_mount and not (mountpoint.file_type == "shared" and mountpoint.guarded):
                text = f"make the mountpoint {item.path} inside the other mount unless it exists"
                return [MakeNestedMountpoint(text, item.path)]
            return []
        if (
            mountpoint.file_type not in ("directory", "missing")
            or (mountpoint.guarded and mountpoint.file_type == "directory")
            or mountpoint.names
        ):
            return []
        how = "mode 0, immutable" if mountpoint.how != "mode" else "mode 0"
        make = "make the mountpoint" if mountpoint.file_type == "missing" else "guard the mountpoint"
        return [GuardMountpoint(f"{make} {item.path}: root-owned, {how}", item.path, mountpoint.how)]

    def _read_ahead_steps(self, item: Wanted, to_mount: bool) -> list[Step]:
        if item.transport == "efs-utils" or (
            not to_mount and self.facts.read_ahead.get(item.path) == read_ahead.DEFAULT_KIB
        ):
            return []
        text = f"set the read-ahead of {item.path} to {read_ahead.DEFAULT_KIB} KiB"
        return [SetReadAhead(text, item.path, read_ahead.DEFAULT_KIB)]

    def _root_steps(self, item: Wanted, to_mount: bool) -> list[Step]:
        uid = self.facts.ids.get(f"user:{item.owner}") if item.owner else None
        gid = self.facts.ids.get(f"group:{item.group}") if item.group else None
        wanted = {"owner": uid, "group": gid, "mode": item.mode}
        if all(value is None for value in wanted.values()):
            return []
        root = self.facts.roots.get(item.path)
        if not to_mount and root and not root.fault:
            current = {"owner": root.uid, "group": root.gid, "mode": root.mode}
            if all(value in (None, current[name]) for name, value in wanted.items()):
                return []
        names = [
            f"{name} {value:04o}" if name == "mode" else f"{name} {value}"
            for name, value in wanted.items()
            if value is not None
        ]
        text = f"ensure that the root of {item.file_system} has {', '.join(names)}"
        return [SetRoot(text, item.path, uid, gid, item.mode)]


def make(items: list[Wanted], facts: Facts, safe: bool = False) -> Plan:
    """What to do to make a host's mounts what is wanted; safe leaves out, as pending, whatever interrupts."""
    return Planner(items, facts, safe).make()
