"""A model of a host: carries out the steps of a plan on plain data, and refuses an order that would fail on a real host."""

from __future__ import annotations

import copy
import re

from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import (
    fstab,
    spec,
    steps,
    tables,
    tunnel_conf,
    tunnel_unit,
)
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.facts import (
    Facts,
    Listener,
    Mountpoint,
    Root,
    State,
)
from ansible_collections.samefiles.aws.plugins.module_utils._host import systemd
from ansible_collections.samefiles.aws.plugins.module_utils._host.steps import (
    EnableUnit,
    ReloadSystemd,
    RemoveFile,
    StopUnit,
    WriteFile,
)

FS = "fs-0123456789abcdef0"
OTHER = "fs-0fedcba9876543210"
AP = "fsap-0123456789abcdef0"
REGION = "eu-central-1"
ADDRESS = {FS: "10.0.0.10", OTHER: "10.0.0.20"}
FSTAB = "LABEL=root / ext4 defaults 0 1\n"


def want(*mounts: dict, transport: str = "stunnel") -> list[spec.Wanted]:
    """The user's list as data; it must be without fault."""
    items, faults = spec.wanted([{"file_system": FS, "path": "/srv/files", **raw} for raw in mounts], REGION, transport)
    assert not faults, faults
    return items


class Host:
    """A host with an empty disk, no mount, and a resolver that knows two file systems."""

    def __init__(self):
        self.facts = Facts(
            fstab=fstab.Fstab(FSTAB),
            ca_file="/etc/ssl/certs/ca-certificates.crt",
            addresses={f"{fs}.efs.{REGION}.amazonaws.com": (ip,) for fs, ip in ADDRESS.items()},
            ids={"user:5000": 5000, "group:5000": 5000, "user:1": 1},
        )
        self.facts.mounts = tables.mounts("1 0 8:1 / / rw - ext4 /dev/root rw\n")
        self.next_port = 20049
        self.pid = 100
        self.reloaded = True

    def see(self, items) -> Facts:
        """The facts as the module would read them for these mounts."""
        facts = copy.deepcopy(self.facts)
        for item in items:
            facts.addresses.setdefault(item.host, (item.host,) if item.mount_target else ())
            parents = [mount for mount in facts.mounts if item.path.startswith(mount.path + "/") and mount.path != "/"]
            if parents:
                facts.mountpoints[item.path] = Mountpoint(
                    "shared", how="shared", guarded=item.path in facts.mountpoints
                )
            else:
                facts.mountpoints.setdefault(item.path, Mountpoint("missing", guarded=False, how="immutable"))
        return facts

    def plan(self, items, safe: bool = False) -> _plan.Plan:
        """The plan for this host."""
        return _plan.make(items, self.see(items), safe)

    def converge(self, items, safe: bool = False) -> _plan.Plan:
        """Plan and carry out."""
        plan = self.plan(items, safe)
        for step in plan.steps:
            DOES[type(step)](self, step)
        return plan

    @property
    def fstab(self) -> str:
        """The text of fstab."""
        return self.facts.fstab.text

    @fstab.setter
    def fstab(self, text: str) -> None:
        self.facts.fstab = fstab.Fstab(text)

    # steps

    def do_unmount(self, step):
        assert self.facts.at(step.path), f"{step.path} is not mounted"
        inside = self.facts.below(step.path)
        assert not inside, f"{step.path} is busy: {inside}"
        self.unmount(step.path)

    def unmount(self, path):
        self.facts.mounts = [mount for mount in self.facts.mounts if mount.path != path]
        self.facts.states = [state for state in self.facts.states if state.path != path]
        self.facts.roots.pop(path, None)
        self.facts.read_ahead.pop(path, None)

    def do_stop(self, step):
        for port, listener in list(self.facts.listeners.items()):
            if listener.unit == step.unit:
                using = [mount.path for mount in self.facts.mounts if mount.option("port") == str(port)]
                assert not using, f"{step.unit} is stopped under {using}"
                del self.facts.listeners[port]
        self.facts.enabled.discard(step.unit)

    def do_remove(self, step):
        del self.facts.files[step.path]

    def do_write(self, step):
        if step.path == fstab.PATH:
            self.fstab = step.contents
        else:
            self.facts.files[step.path] = step.contents
        self.reloaded = False

    def do_reload(self, step):
        for mount in self.facts.mounts:
            port = mount.option("port")
            assert not port or int(port) in self.facts.listeners, "systemd hangs at a mount that does not answer"
        self.reloaded = True

    def do_enable(self, step):
        assert systemd.unit_path(step.unit) in self.facts.files
        self.facts.enabled.add(step.unit)

    def do_start(self, step):
        system = tunnel_unit.file_system_of(step.unit)
        conf = self.facts.files[tunnel_conf.conf_path(system)]
        port = tunnel_conf.conf_port(conf)
        assert port == step.port
        assert port not in self.facts.listeners
        self.listen(port, re.search(r"connect = (.*):2049", conf).group(1), step.unit)

    def listen(self, port, host, unit, command="stunnel"):
        self.pid += 1
        peers = self.facts.addresses.get(host, (host,))
        self.facts.listeners[port] = Listener(self.pid, command, unit, tuple(peers))

    def do_restart(self, step):
        self.facts.listeners.pop(step.port, None)
        self.do_start(step)

    def do_guard(self, step):
        assert not self.facts.mountpoints.get(step.path, Mountpoint("missing")).names
        self.facts.mountpoints[step.path] = Mountpoint("directory", how=step.how)

    def do_nest(self, step):
        self.facts.mountpoints[step.path] = Mountpoint("shared", how="shared")

    def do_unguard(self, step):
        assert not self.facts.at(step.path)
        self.facts.mountpoints[step.path] = Mountpoint("directory", guarded=False, how="immutable")

    def do_mount(self, step):
        item = step.item
        assert self.reloaded, "systemd does not know the line yet"
        assert not self.facts.at(item.path), "something is mounted there"
        lines = [entry for entry in self.facts.fstab.entries if entry.path == item.path]
        assert len(lines) == 1, f"fstab has {len(lines)} lines for {item.path}"
        self.mount_line(lines[0])

    def mount_line(self, entry):
        """Mount what a line of fstab says, as the kernel would show it."""
        options = {key: value for key, value in entry.options if not key.startswith(("x-", "_"))}
        source = entry.source
        if entry.fstype == "efs":
            system, _, directory = entry.source.partition(":")
            port = self.next_port = self.next_port + 1
            self.listen(port, f"{system}.efs.{REGION}.amazonaws.com", "", "efs-proxy")
            listener = self.facts.listeners[port]
            access_point = options.get("accesspoint")
            self.facts.states.append(State(system, access_point, entry.path, port, True, listener.peers))
            source, options["port"] = f"127.0.0.1:{directory}", str(port)
        elif "port" in options:
            assert int(options["port"]) in self.facts.listeners, "the tunnel does not listen"
        host = source.rpartition(":")[0]
        options.setdefault("addr", self.facts.addresses.get(host, (host,))[0])
        for key in ("nofail", "tls", "iam", "region", "accesspoint", "cafile", "mounttargetip"):
            options.pop(key, None)
        shown = {"nfsvers": "vers"}
        words = [
            shown.get(key, key) + ("" if value is None else f"={'pos' if value == 'positive' else value}")
            for key, value in options.items()
        ]
        mode = "ro" if "ro" in options else "rw"
        row = f"9 1 0:9 / {tables.escape(entry.path)} {mode},relatime - nfs4 {source} rw,{','.join(words)}"
        self.facts.mounts += tables.mounts(row + "\n")
        self.facts.roots[entry.path] = Root(0, 0, 0o755)
        self.facts.read_ahead[entry.path] = 128

    def do_read_ahead(self, step):
        assert self.facts.at(step.path)
        self.facts.read_ahead[step.path] = step.kib

    def do_root(self, step):
        root = self.facts.roots[step.path]
        pairs = ((step.owner, root.uid), (step.group, root.gid), (step.mode, root.mode))
        self.facts.roots[step.path] = Root(*(current if new is None else new for new, current in pairs))


DOES = {
    WriteFile: Host.do_write,
    RemoveFile: Host.do_remove,
    ReloadSystemd: Host.do_reload,
    EnableUnit: Host.do_enable,
    StopUnit: Host.do_stop,
    steps.StartTunnel: Host.do_start,
    steps.RestartTunnel: Host.do_restart,
    steps.Unmount: Host.do_unmount,
    steps.Mount: Host.do_mount,
    steps.GuardMountpoint: Host.do_guard,
    steps.MakeNestedMountpoint: Host.do_nest,
    steps.OpenMountpoint: Host.do_unguard,
    steps.SetReadAhead: Host.do_read_ahead,
    steps.SetRoot: Host.do_root,
}


def action(step) -> str:
    """The name of what a step does."""
    return DOES[type(step)].__name__.removeprefix("do_")
