"""The AWS side of a lab: moto's process, and the record in it of what really runs.

Every id follows from the lab's and the thing's name (moto's random numbers are seeded before each creation), so a moto
that was started again knows the same file systems and instances.
"""

from __future__ import annotations

import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any, TypedDict

import boto3
import botocore.config

from lab.daemons import Daemon
from lab.identity import write
from lab.settings import REGION, ZONES, Lab, Server
from lab.state import AccessPoint

# Two different strings: Ansible masks the secret wherever it appears.
ACCESS_KEY = "LABACCESSKEY"
SECRET_KEY = "lab-secret-that-opens-nothing"
AMI = "ami-0a1b2c3d4e5f60718"  # a name only: nothing boots from it


class Instance(TypedDict):
    """An instance on record."""

    id: str
    tags: dict[str, str]


def moto(lab: Lab) -> Daemon:
    """moto's process; its record ends with it."""

    def responds() -> bool:
        try:
            urllib.request.urlopen(f"{lab.aws_endpoint}/moto-api/", timeout=5).close()
        except (OSError, urllib.error.URLError):
            return False
        return True

    return Daemon(lab, "the AWS API (moto)", "lab.moto_server", (str(lab.aws_port), lab.name), responds)


def client(service: str, endpoint: str) -> Any:
    """A client of one service of the lab's moto; it fails at once where moto does not answer."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    settings = botocore.config.Config(retries={"max_attempts": 1})
    return session.client(service, endpoint_url=endpoint, config=settings)


class Record:
    """Records in moto what really runs; leaves alone what is recorded already."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.ec2, self.efs, self.elb = (client(name, lab.aws_endpoint) for name in ("ec2", "efs", "elbv2"))

    def _seed(self, what: str) -> None:
        number = zlib.crc32(f"{self.lab.name}/{what}".encode())
        url = f"{self.lab.aws_endpoint}/moto-api/seed?a={number}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()

    def _tags(self, resource_type: str, name: str, **more: str) -> list[dict[str, Any]]:
        tags = {"Name": name, "Lab": self.lab.name, **more}
        return [{"ResourceType": resource_type, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]

    def _named(self, describe: Callable[..., dict[str, Any]], key: str, name: str) -> dict[str, Any] | None:
        """The resource of this lab with a Name tag, or None."""
        filters = [{"Name": "tag:Name", "Values": [name]}, {"Name": "tag:Lab", "Values": [self.lab.name]}]
        return next(iter(describe(Filters=filters)[key]), None)

    def network(self) -> tuple[dict[str, str], dict[str, str]]:
        """The VPC, its subnets by zone and its security groups by name."""
        vpc = self._vpc()
        subnets = {zone: self._subnet(vpc, zone) for zone in ZONES}
        groups = {name: self._group(vpc, name) for name in ("web", "efs", "alb")}
        return subnets, groups

    def _vpc(self) -> str:
        vpc = self._named(self.ec2.describe_vpcs, "Vpcs", "lab")
        if not vpc:
            self._seed("vpc")
            block = str(self.lab.subnet)
            vpc = self.ec2.create_vpc(CidrBlock=block, TagSpecifications=self._tags("vpc", "lab"))["Vpc"]
        return vpc["VpcId"]

    def _subnet(self, vpc: str, zone: str) -> str:
        subnet = self._named(self.ec2.describe_subnets, "Subnets", zone)
        if not subnet:
            self._seed(f"subnet/{zone}")
            subnet = self.ec2.create_subnet(
                VpcId=vpc, AvailabilityZone=zone, CidrBlock=str(self.lab.zone_subnet(zone)),
                TagSpecifications=self._tags("subnet", zone),
            )["Subnet"]  # fmt: skip
        return subnet["SubnetId"]

    def _group(self, vpc: str, name: str) -> str:
        existing = self._named(self.ec2.describe_security_groups, "SecurityGroups", name)
        if existing:
            return existing["GroupId"]
        self._seed(f"security-group/{name}")
        group = self.ec2.create_security_group(
            GroupName=name, Description=f"lab {name}", VpcId=vpc,
            TagSpecifications=self._tags("security-group", name),
        )["GroupId"]  # fmt: skip
        if name != "web":
            web = self._group(vpc, "web")  # exists already: it is the first
            into, source, port = {"efs": (group, web, 2049), "alb": (web, group, 80)}[name]
            rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": [{"GroupId": source}]}
            self.ec2.authorize_security_group_ingress(GroupId=into, IpPermissions=[rule])
        return group

    def file_system(
        self, name: str, addresses: dict[str, str], access_points: list[AccessPoint]
    ) -> tuple[str, dict[str, str]]:
        """A file system with its mount targets (address by zone) and access points; returns its id and theirs by name."""
        identity = self.identity_of(name)
        if not identity:
            self._seed(f"file-system/{name}")
            identity = self.efs.create_file_system(
                CreationToken=f"{self.lab.name}-{name}", Encrypted=True, ThroughputMode="elastic",
                Tags=[{"Key": "Name", "Value": name}, {"Key": "Lab", "Value": self.lab.name}],
            )["FileSystemId"]  # fmt: skip
        self._mount_targets(identity, addresses)
        ids = {item["name"]: self._access_point(identity, item) for item in access_points}
        return identity, ids

    def identity_of(self, name: str) -> str | None:
        """The id of the file system with a name, or None."""
        systems = self.efs.describe_file_systems()["FileSystems"]
        return next((item["FileSystemId"] for item in systems if item.get("Name") == name), None)

    def _mount_targets(self, identity: str, addresses: dict[str, str]) -> None:
        subnets, groups = self.network()
        targets = self.efs.describe_mount_targets(FileSystemId=identity)["MountTargets"]
        for target in targets:
            if target["IpAddress"] not in addresses.values():
                self.efs.delete_mount_target(MountTargetId=target["MountTargetId"])
        for zone, address in addresses.items():
            if address not in {target["IpAddress"] for target in targets}:
                self._seed(f"mount-target/{identity}/{zone}")
                self.efs.create_mount_target(
                    FileSystemId=identity, SubnetId=subnets[zone], IpAddress=address, SecurityGroups=[groups["efs"]]
                )

    def _access_point(self, identity: str, wanted: AccessPoint) -> str:
        for item in self.efs.describe_access_points(FileSystemId=identity)["AccessPoints"]:
            if item.get("Name") == wanted["name"]:
                return item["AccessPointId"]
        self._seed(f"access-point/{identity}/{wanted['name']}")
        creation = {"OwnerUid": wanted["uid"], "OwnerGid": wanted["gid"], "Permissions": wanted["mode"]}
        root = {"Path": wanted["path"], "CreationInfo": creation}
        return self.efs.create_access_point(
            ClientToken=f"{self.lab.name}-{wanted['name']}", FileSystemId=identity, RootDirectory=root,
            PosixUser={"Uid": wanted["uid"], "Gid": wanted["gid"]}, Tags=[{"Key": "Name", "Value": wanted["name"]}],
        )["AccessPointId"]  # fmt: skip

    def forget_file_systems(self, but: set[str]) -> None:
        """Remove from the record the file systems whose name is not in BUT."""
        for system in self.efs.describe_file_systems()["FileSystems"]:
            if system.get("Name") in but:
                continue
            identity = system["FileSystemId"]
            for item in self.efs.describe_access_points(FileSystemId=identity)["AccessPoints"]:
                self.efs.delete_access_point(AccessPointId=item["AccessPointId"])
            self._mount_targets(identity, {})
            self.efs.delete_file_system(FileSystemId=identity)

    def instances(self) -> dict[str, Instance]:
        """The instances on record that are not terminated, by name."""
        instances: dict[str, Instance] = {}
        for page in self.ec2.get_paginator("describe_instances").paginate():
            for reservation in page["Reservations"]:
                for item in reservation["Instances"]:
                    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
                    if item["State"]["Name"] != "terminated" and tags.get("Lab") == self.lab.name:
                        instances[tags["Name"]] = {"id": item["InstanceId"], "tags": tags}
        return instances

    def servers(self, servers: list[Server], tags: dict[str, str]) -> dict[str, str]:
        """Record exactly these web servers, with these tags; returns their instance ids by name."""
        recorded = self.instances()
        surplus = [recorded[name]["id"] for name in recorded if name not in {server.name for server in servers}]
        if surplus:
            self.ec2.terminate_instances(InstanceIds=surplus)
        return {server.name: self._instance(server, tags, recorded.get(server.name)) for server in servers}

    def _instance(self, server: Server, tags: dict[str, str], instance: Instance | None) -> str:
        wanted = {"Role": "web", **tags}
        if not instance:
            subnets, groups = self.network()
            self._seed(f"instance/{server.name}")
            return self.ec2.run_instances(
                ImageId=AMI, MinCount=1, MaxCount=1, InstanceType="t3.micro", KeyName="lab",
                SubnetId=subnets[server.zone], PrivateIpAddress=server.address, SecurityGroupIds=[groups["web"]],
                # moto gives an instance the tags of the terminated one that had its id
                TagSpecifications=self._tags("instance", server.name, Registered="no", **wanted),
            )["Instances"][0]["InstanceId"]  # fmt: skip
        drift = {key: value for key, value in wanted.items() if instance["tags"].get(key) != value}
        if drift:
            self.ec2.create_tags(
                Resources=[instance["id"]], Tags=[{"Key": key, "Value": value} for key, value in drift.items()]
            )
        return instance["id"]

    def balancer(self, instances: list[str]) -> None:
        """The load balancer in front of these instances.

        Each is registered once in its life, and a tag remembers it: one that an operator has deregistered stays
        out, however often the lab is made. (A terminated instance is deregistered by moto, as by AWS.) The listener comes
        last: until it exists, the balancer's program does not treat the targets as complete.
        """
        group = self._target_group()
        done = {"Name": "tag:Registered", "Values": [group]}
        pages = self.ec2.get_paginator("describe_instances").paginate(Filters=[done])
        old = {item["InstanceId"] for page in pages for part in page["Reservations"] for item in part["Instances"]}
        new = [identity for identity in instances if identity not in old]
        if new:
            self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": identity} for identity in new])
            self.ec2.create_tags(Resources=new, Tags=[{"Key": "Registered", "Value": group}])
        self._listener(group)

    def _own(self, describe: Callable[[], dict[str, Any]], key: str, name: str) -> dict[str, Any] | None:
        """The item of this lab in a description, which is named like the lab, or None."""
        return next((item for item in describe()[key] if item[name] == self.lab.prefix), None)

    def _target_group(self) -> str:
        group = self._own(self.elb.describe_target_groups, "TargetGroups", "TargetGroupName")
        if not group:
            self._seed("target-group")
            vpc = self._vpc()
            group = self.elb.create_target_group(
                Name=self.lab.prefix, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="instance",
                HealthCheckProtocol="HTTP", HealthCheckPath="/healthz", HealthCheckIntervalSeconds=5,
                HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2, UnhealthyThresholdCount=2,
                Tags=[{"Key": "Lab", "Value": self.lab.name}],
            )["TargetGroups"][0]  # fmt: skip
            self.elb.modify_target_group_attributes(
                TargetGroupArn=group["TargetGroupArn"],
                Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "10"}],
            )
        return group["TargetGroupArn"]

    def _listener(self, group: str) -> None:
        balancer = self._own(self.elb.describe_load_balancers, "LoadBalancers", "LoadBalancerName")
        if not balancer:
            subnets, groups = self.network()
            self._seed("load-balancer")
            balancer = self.elb.create_load_balancer(
                Name=self.lab.prefix, Subnets=list(subnets.values()), SecurityGroups=[groups["alb"]],
                Tags=[{"Key": "Lab", "Value": self.lab.name}],
            )["LoadBalancers"][0]  # fmt: skip
        arn = balancer["LoadBalancerArn"]
        if not self.elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]:
            self._seed("listener")
            forward = {"Type": "forward", "TargetGroupArn": group}
            self.elb.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=[forward])


def environment(lab: Lab) -> None:
    """Write the file that points any AWS tool at this lab (`. lab/env`)."""
    lines = {
        "AWS_ENDPOINT_URL": lab.aws_endpoint,
        "AWS_ENDPOINT_URL_S3": lab.s3_endpoint,
        # names the CA: rclone does not start where AWS_CA_BUNDLE does, nor where it reads this file for its keys
        "AWS_CONFIG_FILE": str(lab.state / "aws.ini"),
        # s5cmd's name for the endpoint, and a remote `lab:` of rclone
        "S3_ENDPOINT_URL": lab.s3_endpoint,
        "RCLONE_CONFIG_LAB_TYPE": "s3",
        "RCLONE_CONFIG_LAB_PROVIDER": "Other",
        "RCLONE_CONFIG_LAB_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_CONFIG_LAB_REGION": REGION,
        "RCLONE_CONFIG_LAB_ENDPOINT": lab.s3_endpoint,
        "RCLONE_CA_CERT": str(lab.state / "tls/ca.pem"),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }
    text = "".join(f"export {key}={value}\n" for key, value in lines.items())
    write(lab.state / "env", text + "unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE AWS_SDK_LOAD_CONFIG\n")
    keys = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    write(lab.state / "credentials.ini", f"[default]\n{keys}", 0o600)
    write(lab.state / "aws.ini", f"[default]\nregion = {REGION}\nca_bundle = {lab.state / 'tls/ca.pem'}\n")
