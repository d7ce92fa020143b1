# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the settings of a bucket and carries the steps of a plan out, through a client of botocore; decides nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .._s3 import session
from .._s3.endpoint import Endpoint, Keys
from .._s3.errors import SessionError
from . import plan
from .spec import SWITCHES, BucketError, State, Wanted
from .steps import (
    CreateBucket,
    SetCors,
    SetEncryption,
    SetLifecycle,
    SetOwnership,
    SetPolicy,
    SetPublicAccessBlock,
    SetVersioning,
    Step,
)

STACK_TAG = "aws:cloudformation:stack-name"
LEAST_TRANSITION = "x-amz-transition-default-minimum-object-size"
SETTLE = 30.0  # seconds after which all of S3 knows what was set
_NOTHING = {
    "NoSuchPublicAccessBlockConfiguration", "OwnershipControlsNotFoundError", "NoSuchBucketPolicy", "NoSuchCORSConfiguration",
    "NoSuchLifecycleConfiguration", "ServerSideEncryptionConfigurationNotFoundError", "NoSuchTagSet",
}  # fmt: skip
_WAY_OUT = {
    "BucketAlreadyExists": "bucket names are unique across all accounts: take another name",
    "InvalidBucketAclWithObjectOwnership": "the bucket's ACL names others: reset it to private first",
    "InvalidAccessKeyId": "check the access key",
    "SignatureDoesNotMatch": "check the secret key",
    "ExpiredToken": "give credentials that are still valid",
    "OperationAborted": "somebody else changes the bucket just now: run it again",
}
# the permission that a request needs; the other ones are named like it
_ACTIONS = {
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "GetBucketCors": "s3:GetBucketCORS",
    "PutBucketCors": "s3:PutBucketCORS",
    "DeleteBucketCors": "s3:PutBucketCORS",
    "ListObjectVersions": "s3:ListBucketVersions",
}


def _sentence(bucket: str, operation: str, error: dict[str, Any], status: int) -> str:
    """What S3 refused, with the way out."""
    code, message = error.get("Code", ""), " ".join(str(error.get("Message", "")).split()).rstrip(".")
    way = _WAY_OUT.get(code, "")
    if (
        status == 403
        and operation == "PutBucketPolicy"
        and ("BlockPublicPolicy" in message or "public polic" in message.lower())
    ):
        way = (
            "the public-access block of the account, or of its organization, forbids it: lift BlockPublicPolicy and "
            "RestrictPublicBuckets there, or leave public_access_confirmed out"
        )
    elif status == 403 and operation == "HeadBucket":
        way = "allow s3:ListBucket to the role or user that runs this, or take another name, for this may be another account's"
    elif status == 403 and not way:
        way = f"allow {_ACTIONS.get(operation, f's3:{operation}')} to the role or user that runs this"
    return f"bucket {bucket}: {operation}: {code} {message}".rstrip(" .") + (f": {way}" if way else "")


def _never(step: NoReturn) -> NoReturn:
    """Not reached: a step class without a request is an error of mypy."""
    raise TypeError(f"no request carries out {step!r}")


class BucketSettings:
    """The settings of one bucket, read and changed through a client of botocore."""

    def __init__(
        self,
        client: Any,  # of botocore, which has no types
        name: str,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client, self.name, self._pause, self._clock = client, name, pause, clock

    def ask(self, method: str, absent: tuple[str, ...] = (), **words: Any) -> dict[str, Any] | None:
        """One request; None when S3 reports that the setting or bucket does not exist. Raises BucketError."""
        import botocore.exceptions

        try:
            return getattr(self.client, method)(Bucket=self.name, **words)
        except botocore.exceptions.ClientError as fault:
            error, status = fault.response["Error"], fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if error.get("Code") in _NOTHING or error.get("Code") in absent:
                return None
            failure = BucketError(_sentence(self.name, fault.operation_name, error, status))
            failure.code, failure.status = error.get("Code", ""), status
            raise failure from fault
        except botocore.exceptions.BotoCoreError as fault:
            raise BucketError(f"bucket {self.name}: {method}: {' '.join(str(fault).split())}") from fault

    def read(self) -> State:
        """The whole state."""
        if self.ask("head_bucket", ("404", "NoSuchBucket", "NotFound")) is None:
            return State()
        tags = (self.ask("get_bucket_tagging") or {}).get("TagSet", [])
        block = self.ask("get_public_access_block") or {}
        owner = (self.ask("get_bucket_ownership_controls") or {}).get("OwnershipControls", {}).get("Rules", [])
        policy = self.ask("get_bucket_policy")
        cors = self.ask("get_bucket_cors") or {}
        lifecycle = self.ask("get_bucket_lifecycle_configuration") or {}
        encrypted = self.ask("get_bucket_encryption") or {}
        rules = encrypted.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        return State(
            exists=True,
            stack=next((tag["Value"] for tag in tags if tag["Key"] == STACK_TAG), ""),
            block=block.get("PublicAccessBlockConfiguration"),
            ownership=owner[0]["ObjectOwnership"] if owner else "",
            policy=json.loads(policy["Policy"]) if policy else None,
            cors=tuple(cors.get("CORSRules", [])),
            lifecycle=tuple(lifecycle.get("Rules", [])),
            # from the header: the botocore of Debian 12 does not know it
            least_transition=_header(lifecycle, LEAST_TRANSITION),
            encryption=rules[0] if rules else {},
            versioning=(self.ask("get_bucket_versioning") or {}).get("Status", ""),
        )

    def do(self, step: Step) -> None:
        """Carry out one step."""
        if isinstance(step, CreateBucket):
            self._create(step.region)
        elif isinstance(step, SetPublicAccessBlock):
            self.ask("put_public_access_block", PublicAccessBlockConfiguration=step.block)
        elif isinstance(step, SetOwnership):
            rules = [{"ObjectOwnership": step.ownership}]
            self.ask("put_bucket_ownership_controls", OwnershipControls={"Rules": rules})
        elif isinstance(step, SetPolicy):
            self.ask("put_bucket_policy", Policy=json.dumps(step.policy))
        elif isinstance(step, SetEncryption):
            self.ask("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [step.rule]})
        elif isinstance(step, SetVersioning):
            self.ask("put_bucket_versioning", VersioningConfiguration={"Status": step.versioning})
        elif isinstance(step, SetLifecycle):
            self._set_lifecycle(step.rules, step.least_transition)
        elif isinstance(step, SetCors):
            self._set_cors(step.rules)
        else:
            _never(step)

    def _create(self, region: str) -> None:
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region not in ("", "us-east-1") else {}
        self.ask("create_bucket", ("BucketAlreadyOwnedByYou",), ObjectOwnership="BucketOwnerEnforced", **place)

    def _set_cors(self, rules: list[dict[str, Any]]) -> None:
        if rules:
            self.ask("put_bucket_cors", CORSConfiguration={"CORSRules": rules})
        else:
            self.ask("delete_bucket_cors")

    def _set_lifecycle(self, rules: list[dict[str, Any]], least_transition: str) -> None:
        event = "before-call.s3.PutBucketLifecycleConfiguration"

        def keep(params: dict[str, Any], **_words: Any) -> None:
            if least_transition:
                params["headers"][LEAST_TRANSITION] = least_transition

        self.client.meta.events.register(event, keep)
        try:
            self.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules})
        finally:
            self.client.meta.events.unregister(event, keep)

    def apply(self, wanted: Wanted, before: State, steps: list[Step]) -> list[str]:
        """Carry out the steps and prove them; the actions. Raises BucketError, whose done says what was done until then."""
        done: list[str] = []
        lifted = False
        try:
            for step in steps:
                self._do_or_close(step, before, lifted, done)
                lifted = lifted or isinstance(step, SetPublicAccessBlock)
            with self.or_closed(wanted, before, done):
                self._prove(wanted, before if before.exists else plan.after(before, steps))
        except BucketError as fault:
            fault.done = tuple(done)
            raise
        return done

    @contextlib.contextmanager
    def or_closed(self, wanted: Wanted, before: State, done: list[str]) -> Iterator[None]:
        """Close again what this run has opened when something fails in here: nothing unproved stays open."""
        try:
            yield
        except BaseException as fault:  # an interrupt ends the proof as well
            closed = self._close(wanted, done) if plan.opens(wanted, before) else ""
            if isinstance(fault, BucketError):
                fault.args, fault.done = (f"{fault}{closed}",), tuple(done)
            raise

    def _close(self, wanted: Wanted, done: list[str]) -> str:
        """Close the prefix that was opened and add that to done; the result, as the end of a sentence."""
        what = f"{wanted.public_prefix}/, which this run has opened,"
        faults: list[str] = []
        actions: list[str] = []
        try:
            steps = plan.closing(wanted, self.read())
        except BucketError as fault:  # the block closes whatever there is
            steps = [SetPublicAccessBlock(dict.fromkeys(SWITCHES, True), ("set the public-access block again",))]
            faults.append(str(fault))
        for step in steps:
            try:
                self._do_soon(step, False, False)
                actions += step.actions
            except BucketError as fault:  # each of them closes it alone
                faults.append(str(fault))
        try:
            if not faults:
                self._until(
                    lambda: "; ".join(action for step in plan.closing(wanted, self.read()) for action in step.actions)
                )
        except BucketError as fault:
            faults.append(str(fault))
        done += actions
        if not faults:
            return f"; {what} is closed again"
        return (
            f"; {what} may still be open, for closing it again failed ({'; '.join(faults)}): run it without "
            "public_access_confirmed"
        )

    def _do_or_close(self, step: Step, before: State, lifted: bool, done: list[str]) -> None:
        """Carry out a step and add it to done; a block that was lifted for a policy that S3 refuses is set again."""
        try:
            self._do_soon(step, not before.exists, lifted)
        except BucketError:
            block = before.block if before.exists else dict.fromkeys(SWITCHES, True)
            if lifted and isinstance(step, SetPolicy) and block and block.get("RestrictPublicBuckets"):
                with contextlib.suppress(BucketError):  # what S3 refused is what is reported
                    self.do(SetPublicAccessBlock(block))
                    done.append("set the public-access block again")
            raise
        done.extend(step.actions)

    def _do_soon(self, step: Step, new: bool, lifted: bool) -> None:
        """Carry out a step as soon as all of S3 knows what the one before has set."""
        until, pause = self._clock() + SETTLE, 0.5
        while True:
            try:
                return self.do(step)
            except BucketError as fault:
                early = fault.code == "OperationAborted" or new and fault.code == "NoSuchBucket"
                if (
                    not (early or lifted and isinstance(step, SetPolicy) and fault.status == 403)
                    or self._clock() > until
                ):
                    raise
            self._pause(pause)
            pause = min(2 * pause, 5.0)

    def _prove(self, wanted: Wanted, before: State) -> None:
        """Read everything again until it is as planned; it takes a moment until all of S3 knows what was set."""
        self._until(lambda: plan.unproved(wanted, before, self.read()))

    def _until(self, ask: Callable[[], str]) -> None:
        """Ask until nothing is wrong. Raises BucketError with what is still wrong after a while."""
        until, pause = self._clock() + SETTLE, 0.5
        while True:
            fault = ask()
            if not fault:
                return
            if self._clock() > until:
                raise BucketError(fault)
            self._pause(pause)
            pause = min(2 * pause, 5.0)


def _header(answer: dict[str, Any], name: str) -> str:
    return answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(name, "")


def partition(region: str) -> str:
    """The partition of a region, which ARNs begin with; other S3 servers have Amazon's usual one."""
    import botocore.exceptions
    import botocore.session

    try:
        return botocore.session.Session().get_partition_for_region(region)
    except botocore.exceptions.BotoCoreError:
        return "aws"


def client(options: dict[str, Any], endpoint: Endpoint, keys: Callable[[], Keys]) -> Any:
    """A client of botocore for an endpoint."""
    import botocore.config
    import botocore.session

    now = keys()
    settings = botocore.config.Config(
        s3={"addressing_style": "virtual" if endpoint.virtual else "path"},
        # they are in the endpoint already, and botocore refuses both together
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 5},
    )
    return botocore.session.Session(profile=options.get("profile")).create_client(
        "s3",
        region_name=endpoint.region,
        endpoint_url=f"{'https' if endpoint.secure else 'http'}://{endpoint._replace(virtual=False).header}",
        verify=(endpoint.ca_file or True) if endpoint.verify else False,
        aws_access_key_id=now.access_key,
        aws_secret_access_key=now.secret_key,
        aws_session_token=now.token,
        config=settings,
    )


def connect(options: dict[str, Any]) -> tuple[BucketSettings, Endpoint]:
    """The bucket that the options name, in the region where it is. Raises BucketError."""
    try:
        import botocore.exceptions
    except ImportError as fault:
        raise BucketError(session.missing(fault)) from fault

    given = dict(options)
    try:
        for _turn in range(2):
            endpoint, keys = session.resolve(given["bucket"], given)
            made = client(given, endpoint, keys)
            region = _region(made, given["bucket"])
            if not region or region == endpoint.region or options.get("endpoint_url"):
                break
            given["region"] = region
        return BucketSettings(made, given["bucket"]), endpoint
    except SessionError as fault:
        raise BucketError(str(fault)) from fault
    except (botocore.exceptions.BotoCoreError, OSError) as fault:
        raise BucketError(f"bucket {options['bucket']}: {' '.join(str(fault).split())}") from fault


def _region(made: Any, bucket: str) -> str:
    """The region that S3 says a bucket is in, "" when it says none."""
    import botocore.exceptions

    try:
        return _header(made.head_bucket(Bucket=bucket), "x-amz-bucket-region")
    except botocore.exceptions.ClientError as fault:
        return _header(fault.response, "x-amz-bucket-region")
