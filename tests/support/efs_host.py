"""A model of a host: carries out the steps of a plan on plain data, and refuses an order that would fail on a real host."""

from __future__ import annotations

import copy
import re

from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import spec, tables, units
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.facts import Facts, Listener, Point, Root, State
from ansible_collections.samefiles.aws.plugins.module_utils._host import systemd

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
            fstab=FSTAB,
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
                facts.points[item.path] = Point("shared", how="shared", guarded=item.path in facts.points)
            else:
                facts.points.setdefault(item.path, Point("missing", guarded=False, how="immutable"))
        return facts

    def plan(self, items, safe: bool = False) -> _plan.Plan:
        """The plan for this host."""
        return _plan.make(items, self.see(items), safe)

    def converge(self, items, safe: bool = False) -> _plan.Plan:
        """Plan and carry out."""
        plan = self.plan(items, safe)
        for step in plan.steps:
            getattr(self, f"do_{step.kind}")(step)
        return plan

    # steps

    def do_unmount(self, step):
        assert self.facts.at(step.target), f"{step.target} is not mounted"
        inside = self.facts.below(step.target)
        assert not inside, f"{step.target} is busy: {inside}"
        self.unmount(step.target)

    def unmount(self, path):
        self.facts.mounts = [mount for mount in self.facts.mounts if mount.path != path]
        self.facts.states = [state for state in self.facts.states if state.path != path]
        self.facts.roots.pop(path, None)
        self.facts.read_ahead.pop(path, None)

    def do_stop(self, step):
        for port, listener in list(self.facts.listeners.items()):
            if listener.unit == step.target:
                using = [mount.path for mount in self.facts.mounts if mount.option("port") == str(port)]
                assert not using, f"{step.target} is stopped under {using}"
                del self.facts.listeners[port]
        self.facts.enabled.discard(step.target)

    def do_remove(self, step):
        del self.facts.files[step.target]

    def do_write(self, step):
        if step.target == units.FSTAB:
            self.facts.fstab = step.value
        else:
            self.facts.files[step.target] = step.value
        self.reloaded = False

    def do_reload(self, step):
        for mount in self.facts.mounts:
            port = mount.option("port")
            assert not port or int(port) in self.facts.listeners, "systemd hangs at a dead mount"
        self.reloaded = True

    def do_enable(self, step):
        assert systemd.unit_path(step.target) in self.facts.files
        self.facts.enabled.add(step.target)

    def do_start(self, step):
        system = units.tunnel_file_system(step.target)
        conf = self.facts.files[units.tunnel_conf_path(system)]
        port = units.conf_port(conf)
        assert port == step.value
        assert port not in self.facts.listeners
        self.listen(port, re.search(r"connect = (.*):2049", conf).group(1), step.target)

    def listen(self, port, host, unit, command="stunnel"):
        self.pid += 1
        peers = self.facts.addresses.get(host, (host,))
        self.facts.listeners[port] = Listener(self.pid, command, unit, tuple(peers))

    def do_restart(self, step):
        self.facts.listeners.pop(step.value, None)
        self.do_start(step)

    def do_point(self, step):
        if step.value == "shared":
            self.facts.points[step.target] = Point("shared", how="shared")
        else:
            assert not self.facts.points.get(step.target, Point("missing")).names
            self.facts.points[step.target] = Point("folder", how=step.value)

    def do_unguard(self, step):
        assert not self.facts.at(step.target)
        self.facts.points[step.target] = Point("folder", guarded=False, how="immutable")

    def do_mount(self, step):
        item = step.value
        assert self.reloaded, "systemd does not know the line yet"
        assert not self.facts.at(item.path), "something is mounted there"
        lines = [entry for entry in tables.fstab_entries(self.facts.fstab) if entry.path == item.path]
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
            point = options.get("accesspoint")
            self.facts.states.append(State(system, point, entry.path, port, True, listener.peers))
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
        assert self.facts.at(step.target)
        self.facts.read_ahead[step.target] = step.value

    def do_root(self, step):
        root = self.facts.roots[step.target]
        new = {"owner": root.uid, "group": root.gid, "mode": root.mode}
        new.update({key: value for key, value in step.value.items() if value is not None})
        self.facts.roots[step.target] = Root(new["owner"], new["group"], new["mode"])
