# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan: one class for each request that changes a bucket, with the state that it leaves behind."""

from __future__ import annotations

import dataclasses
from typing import Any, Union

from .spec import ENFORCED, State


@dataclasses.dataclass(frozen=True)
class CreateBucket:
    """Make the bucket in a region."""

    region: str
    actions: tuple[str, ...] = ()  # what it changes, in words for the user; so in every step

    def state_after(self, _state: State) -> State:
        """The state once this is done; so in every step."""
        return State(exists=True, ownership=ENFORCED)


@dataclasses.dataclass(frozen=True)
class SetPublicAccessBlock:
    """Set the four switches against public access."""

    block: dict[str, bool]
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with this block."""
        return state._replace(block=self.block)


@dataclasses.dataclass(frozen=True)
class SetOwnership:
    """Set who owns the objects."""

    ownership: str
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with this ownership."""
        return state._replace(ownership=self.ownership)


@dataclasses.dataclass(frozen=True)
class SetPolicy:
    """Replace the policy."""

    policy: dict[str, Any]
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with this policy."""
        return state._replace(policy=self.policy)


@dataclasses.dataclass(frozen=True)
class SetEncryption:
    """Set how new objects are encrypted."""

    rule: dict[str, Any]
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with this default encryption."""
        return state._replace(encryption=self.rule)


@dataclasses.dataclass(frozen=True)
class SetVersioning:
    """Set versioning: Enabled or Suspended."""

    versioning: str
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with versions kept or not."""
        return state._replace(versioning=self.versioning)


@dataclasses.dataclass(frozen=True)
class SetLifecycle:
    """Replace the lifecycle rules, and send again what S3 keeps beside them."""

    rules: list[dict[str, Any]]
    least_transition: str
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with these rules."""
        return state._replace(lifecycle=tuple(self.rules))


@dataclasses.dataclass(frozen=True)
class SetCors:
    """Replace the CORS rules; none removes them."""

    rules: list[dict[str, Any]]
    actions: tuple[str, ...] = ()

    def state_after(self, state: State) -> State:
        """The state with these rules."""
        return state._replace(cors=tuple(self.rules))


Step = Union[
    CreateBucket, SetPublicAccessBlock, SetOwnership, SetPolicy, SetEncryption, SetVersioning, SetLifecycle, SetCors
]
