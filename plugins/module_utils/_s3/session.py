# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out where a bucket is and with which credentials it is used; the only file that knows botocore.

botocore is imported only where it is needed: its import costs more processor time than a sync of 10,000 unchanged files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import endpoint as _s3_endpoint
from .endpoint import Keys, Where
from .errors import LoginError, WhereError


def missing(fault: ImportError) -> str:
    """What to do where there is no botocore, as one sentence."""
    return f"botocore is missing ({fault}): install python3-botocore, or boto3 from PyPI"


def _session(profile: str | None) -> Any:
    try:
        import botocore.session
    except ImportError as fault:
        raise LoginError(missing(fault)) from fault
    return botocore.session.Session(profile=profile)


class _Found:
    """Credentials that botocore found and renews: each call gives those of now."""

    def __init__(self, credentials: Any, profile: str | None):
        self._credentials, self._profile = credentials, profile
        self._fixed: tuple[Any, Keys] = None, Keys("", "")  # credentials that nothing renews, and their keys

    def __call__(self) -> Keys:
        credentials, (fixed, keys) = self._credentials, self._fixed
        if credentials is fixed:
            return keys
        now = credentials.get_frozen_credentials()
        keys = Keys(now.access_key, now.secret_key, now.token)
        if not hasattr(credentials, "refresh_needed"):  # of a file: nothing renews them, and each request asks
            self._fixed = credentials, keys
        return keys

    @property
    def end(self) -> float | None:
        """When they end, in seconds since the epoch; None when nobody says, as of keys that do not end."""
        told = getattr(self._credentials, "_expiry_time", None)  # botocore has no public word for it
        return told.timestamp() if told else None

    def renew(self) -> None:
        """Ask the provider anew: the server no longer takes what it still thinks good."""
        found = _session(self._profile).get_credentials()
        if found is not None:
            self._credentials = found


def _given(options: dict) -> Keys | None:
    key, secret = options.get("access_key"), options.get("secret_key")
    if bool(key) != bool(secret):
        there, missing = ("access_key", "secret_key") if key else ("secret_key", "access_key")
        raise LoginError(f"{there} needs {missing}: give both, or neither and let botocore find credentials")
    return Keys(key, secret, options.get("session_token") or None) if key and secret else None


def _environment(options: dict) -> Keys | None:
    """The keys of the environment, which botocore would take first unless a profile is named."""
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
        raise LoginError(f"credentials cannot be had: {_bare(fault)}") from fault
    if credentials is None:
        raise LoginError(
            "there are no credentials: give the host an instance role, or set AWS_PROFILE, or access_key and secret_key"
        )
    found = _Found(credentials, options.get("profile"))
    try:
        found()
    except Exception as fault:
        raise LoginError(f"credentials cannot be had: {_bare(fault)}") from fault
    return found


def _bare(fault: Exception) -> str:
    return " ".join(str(fault).split()).rstrip(".") or type(fault).__name__


def _region(options: dict, session: Callable) -> str:
    given = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if given:
        return given
    found = session().get_config_variable("region") if not options.get("endpoint_url") or _configured() else None
    if found:
        return found
    if options.get("endpoint_url"):
        return "us-east-1"  # other S3 servers take any; a bucket of Amazon tells its region and is followed
    raise LoginError("there is no region: set region, or AWS_REGION")


def _configured() -> bool:
    place = os.environ.get("AWS_CONFIG_FILE") or os.path.expanduser("~/.aws/config")
    return os.path.exists(place)


def _endpoint(options: dict, session: Callable) -> str | None:
    """The endpoint that is set: by option, by environment, in the configuration; today's botocore knows the last two."""
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
        found = resolver.construct_endpoint("s3", region, partition, **variants)
    except Exception as fault:
        raise LoginError(f"S3 of {region} has no such endpoint: {_bare(fault)}") from fault
    if not found or not found.get("hostname"):
        raise LoginError(f"region {region!r} is not known: mend it, or set endpoint_url")
    return f"https://{found['hostname']}"


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


def login(bucket: str, options: dict) -> tuple[Where, Callable[[], Keys]]:
    """Where a bucket is, and a function that gives the credentials of now.

    options: region, endpoint_url, profile, access_key, secret_key, session_token, aws_ca_bundle, validate_certs,
    addressing_style (auto, path, virtual), use_fips_endpoint, use_dualstack_endpoint; what is not set is looked for where
    botocore looks. Raises LoginError.
    """
    kept: list = []

    def session() -> Any:
        if not kept:
            kept.append(_session(options.get("profile")))
        return kept[0]

    wrong = _s3_endpoint.bucket_fault(bucket)
    if wrong:
        raise LoginError(wrong)
    try:
        keys = _keys(options, session)
        endpoint = _endpoint(options, session)
        region = _region({**options, "endpoint_url": endpoint}, session)
        where = _s3_endpoint.by_url(
            endpoint or _amazon(options, region, session),
            bucket,
            region,
            _style(options, session),
            ca_file=_authorities(options, session),
            verify=options.get("validate_certs") is not False,
        )
        proxy = _s3_endpoint.proxy_of(where.secure, where.name, dict(os.environ))
    except WhereError as fault:
        raise LoginError(str(fault)) from fault
    except Exception as fault:
        if isinstance(fault, LoginError) or not type(fault).__module__.startswith("botocore"):
            raise
        raise LoginError(f"the AWS configuration cannot be used: {_bare(fault)}") from fault
    return where._replace(proxy=proxy), keys
