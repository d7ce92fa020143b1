# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the endpoint of a bucket and the credentials that it is used with; the only file that knows botocore.

botocore is imported only where it is needed: its import costs more processor time than a sync of 10,000 unchanged files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import endpoint as _s3_endpoint
from .endpoint import Endpoint, Keys
from .errors import EndpointError, SessionError


def missing(fault: ImportError) -> str:
    """What to do when botocore is missing, as one sentence."""
    return f"botocore is missing ({fault}): install python3-botocore, or boto3 from PyPI"


def _session(profile: str | None) -> Any:
    try:
        import botocore.session
    except ImportError as fault:
        raise SessionError(missing(fault)) from fault
    return botocore.session.Session(profile=profile)


class _Credentials:
    """Credentials that botocore finds and renews: each call gives the current ones."""

    def __init__(self, credentials: Any, profile: str | None):
        self._credentials, self._profile = credentials, profile
        self._fixed: tuple[Any, Keys] = None, Keys("", "")  # credentials that nothing renews, and their keys

    def __call__(self) -> Keys:
        credentials, (fixed, keys) = self._credentials, self._fixed
        if credentials is fixed:
            return keys
        now = credentials.get_frozen_credentials()
        keys = Keys(now.access_key, now.secret_key, now.token)
        if not hasattr(credentials, "refresh_needed"):  # from a file: nothing renews them, and each request needs them
            self._fixed = credentials, keys
        return keys

    @property
    def end(self) -> float | None:
        """When they end, in seconds since the epoch; None when it is unknown or they do not end."""
        expiry = getattr(self._credentials, "_expiry_time", None)  # botocore has no public name for it
        return expiry.timestamp() if expiry else None

    def renew(self) -> None:
        """Ask the provider again: the server refuses credentials that the provider takes for valid."""
        credentials = _session(self._profile).get_credentials()
        if credentials is not None:
            self._credentials = credentials


def _given(options: dict) -> Keys | None:
    key, secret = options.get("access_key"), options.get("secret_key")
    if bool(key) != bool(secret):
        given, missing = ("access_key", "secret_key") if key else ("secret_key", "access_key")
        raise SessionError(f"{given} needs {missing}: give both, or neither and let botocore find credentials")
    return Keys(key, secret, options.get("session_token") or None) if key and secret else None


def _environment(options: dict) -> Keys | None:
    """The keys of the environment, which botocore prefers unless a profile is named."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if options.get("profile") or not (key and secret):
        return None
    return Keys(key, secret, os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_SECURITY_TOKEN") or None)


def _keys(options: dict, session: Callable) -> Callable[[], Keys]:
    fixed = _given(options) or _environment(options)
    if fixed:
        return lambda: fixed
    try:
        credentials = session().get_credentials()
    except Exception as fault:  # whatever a provider of botocore raises
        raise SessionError(f"credentials cannot be had: {_bare(fault)}") from fault
    if credentials is None:
        raise SessionError(
            "there are no credentials: give the host an instance role, or set AWS_PROFILE, or access_key and secret_key"
        )
    provider = _Credentials(credentials, options.get("profile"))
    try:
        provider()
    except Exception as fault:
        raise SessionError(f"credentials cannot be had: {_bare(fault)}") from fault
    return provider


def _bare(fault: Exception) -> str:
    return " ".join(str(fault).split()).rstrip(".") or type(fault).__name__


def _region(options: dict, session: Callable) -> str:
    given = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if given:
        return given
    configured = session().get_config_variable("region") if not options.get("endpoint_url") or _configured() else None
    if configured:
        return configured
    if options.get("endpoint_url"):
        return "us-east-1"  # other S3 servers take any; Amazon's answer names the bucket's region, which is then used
    raise SessionError("there is no region: set region, or AWS_REGION")


def _configured() -> bool:
    place = os.environ.get("AWS_CONFIG_FILE") or os.path.expanduser("~/.aws/config")
    return os.path.exists(place)


def _endpoint(options: dict, session: Callable) -> str | None:
    """The endpoint that is set: by option, by environment, in the configuration; current versions of botocore read the last two."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if options.get("endpoint_url") or os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            break
        if os.environ.get(name):
            return os.environ[name]
    if options.get("endpoint_url") or not (_configured() or options.get("profile")):
        return options.get("endpoint_url")
    scoped = session().get_scoped_config()
    full = session().full_config
    services = full.get("services", {}).get(scoped.get("services"), {})
    return services.get("s3", {}).get("endpoint_url") or scoped.get("endpoint_url")


def _flag(options: dict, name: str, session: Callable) -> bool:
    """An option that may be set in the environment and in the configuration too: use_fips_endpoint, use_dualstack_endpoint."""
    given = options.get(name)
    if given is not None:
        return bool(given)
    said = os.environ.get(f"AWS_{name.upper()}")
    if said is None and (_configured() or options.get("profile")):
        said = session().get_scoped_config().get(name)
    return str(said).lower() == "true"


def _amazon(options: dict, region: str, session: Callable) -> str:
    """Amazon's endpoint of a region, in its partition."""
    variants = {name: _flag(options, name, session) for name in ("use_dualstack_endpoint", "use_fips_endpoint")}
    from botocore.regions import EndpointResolver

    resolver = EndpointResolver(session().get_data("endpoints"))
    partition = resolver.get_partition_for_region(region)
    try:
        resolved = resolver.construct_endpoint("s3", region, partition, **variants)
    except Exception as fault:
        raise SessionError(f"S3 of {region} has no such endpoint: {_bare(fault)}") from fault
    if not resolved or not resolved.get("hostname"):
        raise SessionError(f"region {region!r} is not known: fix it, or set endpoint_url")
    return f"https://{resolved['hostname']}"


def _style(options: dict, session: Callable) -> str:
    given = options.get("addressing_style")
    if not given and (_configured() or options.get("profile")):
        said = session().get_scoped_config().get("s3")
        given = said.get("addressing_style") if isinstance(said, dict) else None
    return given or "auto"


def _authorities(options: dict, session: Callable) -> str | None:
    """The file of CA certificates: by option, by environment, in the configuration."""
    given = options.get("aws_ca_bundle") or os.environ.get("AWS_CA_BUNDLE")
    if not given and (_configured() or options.get("profile")):
        given = session().get_scoped_config().get("ca_bundle")
    return os.path.expanduser(given) if given else None


def resolve(bucket: str, options: dict) -> tuple[Endpoint, Callable[[], Keys]]:
    """The endpoint of a bucket, and a function that gives the current credentials.

    options: region, endpoint_url, profile, access_key, secret_key, session_token, aws_ca_bundle, validate_certs,
    addressing_style (auto, path, virtual), use_fips_endpoint, use_dualstack_endpoint; what is not set is looked up where
    botocore looks it up. Raises SessionError.
    """
    kept: list = []

    def session() -> Any:
        if not kept:
            kept.append(_session(options.get("profile")))
        return kept[0]

    wrong = _s3_endpoint.bucket_fault(bucket)
    if wrong:
        raise SessionError(wrong)
    try:
        keys = _keys(options, session)
        url = _endpoint(options, session)
        region = _region({**options, "endpoint_url": url}, session)
        endpoint = _s3_endpoint.by_url(
            url or _amazon(options, region, session),
            bucket,
            region,
            _style(options, session),
            ca_file=_authorities(options, session),
            verify=options.get("validate_certs") is not False,
        )
        proxy = _s3_endpoint.proxy_of(endpoint.secure, endpoint.name, dict(os.environ))
    except EndpointError as fault:
        raise SessionError(str(fault)) from fault
    except Exception as fault:
        if isinstance(fault, SessionError) or not type(fault).__module__.startswith("botocore"):
            raise
        raise SessionError(f"the AWS configuration cannot be used: {_bare(fault)}") from fault
    return endpoint._replace(proxy=proxy), keys
