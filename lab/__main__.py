"""The command behind `make lab`, `make lab-down` and `make lab-status`: python -m lab COMMAND."""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import re
import shutil
import sys

from lab import aws, balancer, containers, daemons, engine, identity, images, pictures, s3, state
from lab.progress import say
from lab.settings import DEFAULT_LAB, MOST_FILE_SYSTEMS, MOST_SERVERS, REGION, ROOT, Lab, LabError

TRANSPORTS = ("stunnel", "plain", "efs-utils")
STORAGES = ("efs", "s3")


def _inventory(lab: Lab) -> pathlib.Path:
    """The inventory of a lab; the default lab's is part of the repository, others are derived from it."""
    source = ROOT / "inventories/lab"
    if lab.name == DEFAULT_LAB:
        return source
    directory = lab.state / "inventory"
    text = (source / "lab.aws_ec2.yml").read_text()
    default = Lab(DEFAULT_LAB, 0)
    identity.write(directory / "lab.aws_ec2.yml", text.replace(default.aws_endpoint, lab.aws_endpoint))
    link = directory / "group_vars"
    if not link.is_symlink() or link.readlink() != source / "group_vars":
        link.unlink(missing_ok=True)
        link.symlink_to(source / "group_vars")
    return directory


def _package(lab: Lab, path: str | None, wanted: state.Wanted) -> None:
    """Copy the user's efs-utils package into the lab's state directory."""
    if path:
        try:
            data = pathlib.Path(path).expanduser().read_bytes()
        except OSError as error:
            raise LabError(f"EFS_UTILS_PACKAGE {path!r} cannot be read: {error.strerror}") from None
        identity.write(lab.state / "amazon-efs-utils.deb", data)
        wanted.package = hashlib.sha256(data).hexdigest()
    if wanted.transport == "efs-utils" and not wanted.package:
        raise LabError("TRANSPORT=efs-utils needs the client: give its package with EFS_UTILS_PACKAGE=FILE.deb")


def _converge(lab: Lab, wanted: state.Wanted) -> None:
    """Make the lab match its record. Every step checks first, so a second run changes nothing."""
    state.save(lab, wanted)
    identity.ssh_key(lab.state / "ssh/id_ed25519")
    identity.certificates(lab)
    all_servers = [lab.server(number + 1) for number in range(wanted.hosts)]
    identity.known_hosts(lab, all_servers)
    for server in all_servers:
        identity.seed(lab, server)
    efs_image = images.ensure("efs", "half a minute")
    server_image = images.ensure("server", "a minute")
    containers.network(lab)
    aws.moto(lab).start()
    record = aws.Record(lab)
    _file_systems(lab, wanted, record, efs_image)
    main = containers.servers(lab, wanted, server_image)
    # a lab without servers may lack the file system that their tags name
    identities = record.servers(main, _tags(lab, wanted, record) if main else {})
    record.balancer(list(identities.values()))
    s3.store(
        lab,
        {server.address: {"id": identities[server.name], "zone": server.zone, "name": server.name} for server in main},
        efs_image,
    )
    containers.balancer(lab, efs_image)
    balancer.program(lab).start()
    aws.environment(lab)
    _inventory(lab)


def _tags(lab: Lab, wanted: state.Wanted, record: aws.Record) -> dict[str, str]:
    """The tags of every server, which the inventory reads."""
    files = record.identity_of(state.MAIN_FILE_SYSTEM)
    if files is None:
        command = f"python -m lab --lab {lab.name} file-system {state.MAIN_FILE_SYSTEM}"
        raise LabError(f"the servers need the file system {state.MAIN_FILE_SYSTEM!r}: add it again with `{command}`")
    tags = {"FileSystem": files, "Transport": wanted.transport, "SiteUrl": lab.site_url}
    tags |= {"Storage": wanted.storage, "Bucket": lab.bucket}
    tags |= {"S3Endpoint": lab.s3_endpoint, "S3BrowserEndpoint": lab.s3_browser_endpoint}
    if wanted.package:
        tags["EfsUtilsChecksum"] = wanted.package
    return tags


def _file_systems(lab: Lab, wanted: state.Wanted, record: aws.Record, image: str) -> None:
    """Make exactly the wanted file systems, and the resolver that knows them."""
    keep = {f"{lab.prefix}-efs-{item['name']}" for item in wanted.file_systems}
    mark = f"samefiles.lab={lab.name}"
    for name in engine.named("container", f"{lab.prefix}-efs-", mark):
        if name not in keep:
            engine.docker("rm", "--force", "--volumes", name)
    for name in engine.named("volume", f"{lab.prefix}-efs-", mark):
        if name.removesuffix("-recovery") not in keep:
            engine.docker("volume", "rm", name)
    record.forget_file_systems({item["name"] for item in wanted.file_systems})
    records = dict(containers.file_system(lab, item, record, image) for item in wanted.file_systems)
    containers.resolver(lab, records, image)


def _open(name: str) -> tuple[Lab, state.Wanted]:
    """An existing lab and its record."""
    wanted = state.load(name)
    if not wanted:
        raise LabError(f"there is no lab {name!r}: make it with `make lab LAB={name}`")
    return Lab(name, wanted.index), wanted


def _hosts(text: str | None) -> int | None:
    """The number of servers in HOSTS; None when it is not given."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MOST_SERVERS:
        raise LabError(f"HOSTS must be a number from 0 to {MOST_SERVERS}, got {text!r}")
    return int(text)


def _check_choice(name: str, words: tuple[str, ...], given: str | None) -> None:
    """Refuse a value that a variable of `make lab` does not take."""
    if given not in (None, *words):
        raise LabError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {given!r}")


def up(arguments: argparse.Namespace) -> None:
    """Start the lab, or change it to what the arguments say."""
    hosts = _hosts(arguments.hosts)
    _check_choice("TRANSPORT", TRANSPORTS, arguments.transport)
    _check_choice("STORAGE", STORAGES, arguments.storage)
    engine.prerequisites()
    wanted = state.load(arguments.lab) or state.Wanted(state.free_index(arguments.lab))
    lab = Lab(arguments.lab, wanted.index)
    wanted.hosts = wanted.hosts if hosts is None else hosts
    wanted.transport = arguments.transport or wanted.transport
    wanted.storage = arguments.storage or wanted.storage
    _package(lab, arguments.efs_utils_package, wanted)
    _converge(lab, wanted)
    files = f"files in S3, bucket {lab.bucket}" if wanted.storage == "s3" else "files on EFS"
    say(
        f"lab {lab.name}: {wanted.hosts} servers, site at {lab.site_url}, {files}; AWS API at {lab.aws_endpoint}, "
        f"S3 at {lab.s3_endpoint}"
    )


def prepare(arguments: argparse.Namespace) -> None:
    """Make the images and the servers' disk, which all labs use, and start nothing."""
    engine.prerequisites()
    images.ensure("efs", "half a minute")
    images.disk(images.ensure("server", "a minute"))


def down(arguments: argparse.Namespace) -> None:
    """Remove the lab, whatever state it is in."""
    lab = Lab(arguments.lab, 0)  # the name alone finds everything: the record may be lost or broken
    gone = containers.remove(lab)
    daemons.end_connections(lab.connections)
    shutil.rmtree(lab.connections, ignore_errors=True)
    balancer.program(lab).stop()
    aws.moto(lab).stop()
    shutil.rmtree(lab.state, ignore_errors=True)
    say(f"lab {lab.name}: removed {len(gone)} containers, networks and volumes")


def file_system(arguments: argparse.Namespace) -> None:
    """Add a file system to a running lab, or remove it (for tests)."""
    lab, wanted = _open(arguments.lab)
    others = [item for item in wanted.file_systems if item["name"] != arguments.name]
    if arguments.remove:
        wanted.file_systems = others
    else:
        used = {item["number"] for item in others}
        free = min(set(range(MOST_FILE_SYSTEMS)) - used)
        number = next((item["number"] for item in wanted.file_systems if item["name"] == arguments.name), free)
        access_points = [json.loads(text) for text in arguments.access_point]
        item: state.FileSystem = {"name": arguments.name, "number": number, "access_points": access_points}
        if arguments.zone:
            item["zones"] = arguments.zone
        wanted.file_systems = sorted([*others, item], key=lambda item: item["number"])
    _converge(lab, wanted)


def status(arguments: argparse.Namespace) -> None:
    """Print the lab as one JSON object; {} and exit 1 when it does not run."""
    wanted = state.load(arguments.lab)
    lab = Lab(arguments.lab, wanted.index if wanted else 0)
    # without moto no playbook finds the servers
    if not (
        wanted
        and aws.moto(lab).responds()
        and engine.named("container", f"{lab.prefix}-web-", f"samefiles.lab={lab.name}")
    ):
        print("{}")
        sys.exit(1)
    record = aws.Record(lab)
    instances = record.instances()
    hosts = []
    for server in (lab.server(number + 1) for number in range(wanted.hosts)):
        hosts.append(
            {
                "name": server.name,
                "instance_id": instances[server.name]["id"] if server.name in instances else None,
                "address": server.address,
                "zone": server.zone,
                "container": server.container,
                "ssh": containers.ssh(lab, server),
                "http": f"http://{server.address}",
            }
        )
    report = {
        "site_url": lab.site_url,
        "aws_endpoint": lab.aws_endpoint,
        "s3_endpoint": lab.s3_endpoint,
        "region": REGION,
        "file_system": record.identity_of(state.MAIN_FILE_SYSTEM),
        "bucket": lab.bucket,
        "storage": wanted.storage,
        "s3_browser_endpoint": lab.s3_browser_endpoint,
        "inventory": str(_inventory(lab)),
        "hosts": hosts,
    }
    print(json.dumps(report, indent=2))


def fill(arguments: argparse.Namespace) -> None:
    """Put a few pictures into the gallery of a lab that serves one, unless it has some."""
    lab, wanted = _open(arguments.lab)
    servers = [f"http://{lab.server(number + 1).address}" for number in range(wanted.hosts)]
    pictures.fill(lab.site_url, servers)
    files = f"in the bucket {lab.bucket}" if wanted.storage == "s3" else "on EFS"
    print(f"The site: {lab.site_url} (files {files})")


def inventory(arguments: argparse.Namespace) -> None:
    """Print the path of the lab's inventory."""
    print(_inventory(_open(arguments.lab)[0]))


def playbooks(arguments: argparse.Namespace) -> None:
    """Print the playbooks that make the site of the lab: with files in S3 the bucket comes first."""
    wanted = _open(arguments.lab)[1]
    print(*(["playbooks/bucket.yml"] if wanted.storage == "s3" and wanted.hosts else []), "site.yml")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    top.add_argument("--lab", default=DEFAULT_LAB, help="name of the lab")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("up", help=up.__doc__)
    # strings, checked in up(): argparse would print a page of usage for a wrong value
    command.add_argument("--hosts", metavar="NUMBER")
    command.add_argument("--transport", metavar="|".join(TRANSPORTS))
    command.add_argument("--storage", metavar="|".join(STORAGES))
    command.add_argument("--efs-utils-package", metavar="FILE.deb")
    command.set_defaults(run=up)
    for name, function in (
        ("prepare", prepare),
        ("down", down),
        ("status", status),
        ("inventory", inventory),
        ("playbooks", playbooks),
        ("pictures", fill),
    ):
        commands.add_parser(name, help=function.__doc__).set_defaults(run=function)
    command = commands.add_parser("file-system", help=file_system.__doc__)
    command.add_argument("name")
    command.add_argument("--remove", action="store_true")
    command.add_argument("--zone", action="append", help="a zone that gets a mount target (default: every zone)")
    command.add_argument("--access-point", action="append", default=[], metavar="JSON")
    command.set_defaults(run=file_system)
    return top


def main() -> None:
    """Run one command; a LabError becomes one sentence."""
    arguments = parser().parse_args()
    try:
        if arguments.run in (status, inventory, playbooks):
            arguments.run(arguments)
            return
        with state.locked():
            arguments.run(arguments)
    except LabError as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()
