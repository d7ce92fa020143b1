"""moto, with the few operations corrected that it lacks or gets wrong for this lab (a double of AWS's own API).

Run as `python -m lab.moto_server PORT LAB CODE`. Corrections, each with its reason:

- EFS tags by the older operations (DescribeTags, CreateTags, DeleteTags): moto answers 404, and `community.aws.efs`
  and `efs_info` still call them.
- EFS UpdateFileSystem, PutBackupPolicy, DeleteFileSystemPolicy: moto answers 500; CloudFormation and operators use them.
- EFS CreateMountTarget with an address outside the subnet: moto refuses, but keeps an entry without an id that makes
  the file system impossible to describe or delete. The address is checked before moto sees the request.
- EC2 TerminateInstances: moto keeps the address, so that no instance could take it again (`make lab HOSTS=2`, HOSTS=3).
- ELB DescribeTargetHealth: moto calls every running target healthy and knows no draining. For the lab's own target group
  the balancer's program says what its health checks measured (health.json); an entry there for a target that is not
  registered any more means that it still drains. Without the file moto's own answer stands.
- EFS ids: moto's have 8 hexadecimal digits, AWS's have 17, and mount.efs refuses a shorter access-point id.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

# Managed policies are needed to attach AWS's own to a role; they cost a second at start, so only this switch loads them.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.ec2 import ec2_backends
from moto.ec2.models.instances import Instance, InstanceState
from moto.efs import models, responses, urls
from moto.efs.exceptions import BadRequest
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus
from moto.moto_api._internal import mock_random
from moto.server import main as moto_main

from lab.settings import Lab
from lab.targets import answer

JSON: dict[str, str | int] = {"Content-Type": "application/json"}


def _file_system(response: responses.EFSResponse) -> tuple[models.EFSBackend, str, models.FileSystem]:
    """The backend, the id in the request, and the file system of that id (an error when there is none)."""
    identity = response._get_param("FileSystemId") or response.path.rstrip("/").split("/")[-1]
    backend = response.efs_backend
    return backend, identity, backend.describe_file_systems(file_system_id=identity)[1][0]


def describe_tags(self: responses.EFSResponse) -> responses.TYPE_RESPONSE:
    """DescribeTags."""
    backend, identity, _ = _file_system(self)
    return json.dumps({"Tags": backend.list_tags_for_resource(identity)}), JSON


def create_tags(self: responses.EFSResponse) -> responses.TYPE_RESPONSE:
    """CreateTags."""
    backend, identity, _ = _file_system(self)
    backend.tagging_service.tag_resource(identity, self._get_param("Tags"))
    return "", {"status": 204}


def delete_tags(self: responses.EFSResponse) -> responses.TYPE_RESPONSE:
    """DeleteTags."""
    backend, identity, _ = _file_system(self)
    backend.tagging_service.untag_resource_using_names(identity, self._get_param("TagKeys"))
    return "", {"status": 204}


def update_file_system(self: responses.EFSResponse) -> responses.TYPE_RESPONSE:
    """UpdateFileSystem: throughput."""
    _, _, system = _file_system(self)
    system.throughput_mode = self._get_param("ThroughputMode") or system.throughput_mode
    provisioned = self._get_param("ProvisionedThroughputInMibps") if system.throughput_mode == "provisioned" else None
    system.provisioned_throughput_in_mibps = provisioned  # type: ignore[assignment]  # None too, whatever moto declares
    return json.dumps(system.info_json()), {"status": 202, **JSON}


def put_backup_policy(self: responses.EFSResponse) -> responses.TYPE_RESPONSE:
    """PutBackupPolicy."""
    _, _, system = _file_system(self)
    policy = self._get_param("BackupPolicy")
    system._backup = policy["Status"] in ("ENABLED", "ENABLING")
    return json.dumps({"BackupPolicy": policy}), JSON


def delete_file_system_policy(self: responses.EFSResponse) -> responses.TYPE_RESPONSE:
    """DeleteFileSystemPolicy."""
    _, _, system = _file_system(self)
    system.file_system_policy = None
    return "", {"status": 200}


def checked_mount_target(original: Callable[..., models.MountTarget]) -> Callable[..., models.MountTarget]:
    """CreateMountTarget that refuses an address outside the subnet before anything is kept."""

    def create(
        self: models.EFSBackend,
        file_system_id: str,
        subnet_id: str,
        ip_address: str | None = None,
        *others: Any,
        **named: Any,
    ) -> models.MountTarget:
        subnet = ec2_backends[self.account_id][self.region_name].get_subnet(subnet_id)
        if ip_address and ipaddress.ip_address(ip_address) not in ipaddress.ip_network(subnet.cidr_block):
            raise BadRequest("Address does not fall within the subnet's address range")
        return original(self, file_system_id, subnet_id, ip_address, *others, **named)

    return create


def terminate_wholly(original: Callable[..., InstanceState]) -> Callable[..., InstanceState]:
    """TerminateInstances that deletes the interfaces too, as AWS does with those that it made with the instance."""

    def terminate(self: Instance) -> InstanceState:
        for interface in self.nics.values():
            interface.delete_on_termination = True
        return original(self)

    return terminate


def measured_health(original: Callable[..., list[FakeHealthStatus]], lab: Lab) -> Callable[..., list[FakeHealthStatus]]:
    """DescribeTargetHealth as the lab's balancer measured it."""

    def describe(self: ELBv2Backend, target_group_arn: str, targets: list[dict[str, Any]]) -> list[FakeHealthStatus]:
        statuses = original(self, target_group_arn, targets)
        group = self.target_groups[target_group_arn]
        if group.name != lab.prefix or not lab.health.exists():
            return statuses
        measured = json.loads(lab.health.read_text())
        if not targets:
            gone = [identity for identity in measured if identity not in group.targets]
            statuses += [group.health_for({"Id": identity}, self.ec2_backend) for identity in gone]
        for item in statuses:
            registered = item.instance_id in group.targets
            if registered and item.status != "healthy":
                continue  # its instance is stopped
            health = answer(measured.get(item.instance_id), registered)
            item.status, item.reason, item.description = (
                health["state"],
                health.get("reason"),
                health.get("description"),
            )
        return statuses

    return describe


class LongIds:
    """Random numbers for EFS's ids, 17 digits long, from moto's own source (so that its seed rules them)."""

    @staticmethod
    def get_random_hex(length: int = 17) -> str:
        """As many hexadecimal digits as AWS's ids have, whatever moto asks for."""
        return mock_random.get_random_hex(max(length, 17))


def correct(lab: Lab) -> None:
    """Put the corrections in place."""
    for operation in (
        describe_tags,
        create_tags,
        delete_tags,
        update_file_system,
        put_backup_policy,
        delete_file_system_policy,
    ):
        setattr(responses.EFSResponse, operation.__name__, operation)
    for path in ("tags", "create-tags", "delete-tags"):
        urls.url_paths[f"/2015-02-01/{path}/<file_system_id>"] = urls.response.dispatch
        urls.url_paths[f"/2015-02-01/{path}/<file_system_id>/"] = urls.response.dispatch
    models.mock_random = LongIds  # type: ignore[assignment]  # EFS calls nothing else of it
    Instance.terminate = terminate_wholly(Instance.terminate)  # type: ignore[method-assign]  # corrects moto
    ELBv2Backend.describe_target_health = measured_health(ELBv2Backend.describe_target_health, lab)  # type: ignore[method-assign]  # corrects moto
    models.EFSBackend.create_mount_target = checked_mount_target(models.EFSBackend.create_mount_target)  # type: ignore[method-assign]  # corrects moto


if __name__ == "__main__":
    correct(Lab(sys.argv[2], 0))  # only its name counts here
    # the balancer's program asks four times a second: a line for each request would fill the disk in time
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    moto_main(["--host", "127.0.0.1", "--port", sys.argv[1]])
