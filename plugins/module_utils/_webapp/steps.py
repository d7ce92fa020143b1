# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of webapp's plan beside those that all modules use: one class each."""

from __future__ import annotations

import dataclasses

from .._host.steps import Step, WriteFile
from .spec import Account


@dataclasses.dataclass(frozen=True)
class CreateGroup(Step):
    """Make the group of an account."""

    account: Account


@dataclasses.dataclass(frozen=True)
class CreateUser(Step):
    """Make the user of an account."""

    account: Account


@dataclasses.dataclass(frozen=True)
class UnpackRelease(Step):
    """Unpack the archive as a release, into its own path."""

    path: str
    release: str


@dataclasses.dataclass(frozen=True)
class WriteSiteFile(WriteFile):
    """Write a file of the site; the contents of a secret one are never shown."""

    secret: bool = False


@dataclasses.dataclass(frozen=True)
class StartRelease(Step):
    """Start the unit of a release and wait until it answers."""

    unit: str
    release: str


@dataclasses.dataclass(frozen=True)
class SwitchRelease(Step):
    """Point the link `current` below root, and with it all new requests, to a release."""

    root: str
    release: str


@dataclasses.dataclass(frozen=True)
class ReloadUnit(Step):
    """Reload the configuration of a unit that runs."""

    unit: str


@dataclasses.dataclass(frozen=True)
class DisableUnit(Step):
    """Disable a unit; one that runs keeps running."""

    unit: str


@dataclasses.dataclass(frozen=True)
class CheckSite(Step):
    """Check that the site answers and that these units keep their processes."""

    units: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class RetireRelease(Step):
    """Stop the unit of a release when its last request has ended."""

    unit: str
    release: str


@dataclasses.dataclass(frozen=True)
class EndUnit(Step):
    """Stop a unit for good and remove it; drain: the seconds that its last requests have, 0 for none."""

    unit: str
    drain: int


@dataclasses.dataclass(frozen=True)
class RemoveRelease(Step):
    """Remove the directory of a release."""

    path: str
