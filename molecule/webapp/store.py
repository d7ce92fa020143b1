"""Starts S3 and instance metadata of the lab `webapp`, for the one host of this scenario that keeps its files there."""

from __future__ import annotations

from lab import containers, identity, images, s3, state
from lab.settings import Lab


def main() -> None:
    """Start them; `python -m lab --lab webapp down` removes them."""
    lab = Lab("webapp", state.free_index("webapp"))
    host = lab.server(1)
    with state.locked():
        state.save(lab, state.Wanted(lab.index, hosts=0))
        identity.certificates(lab)
        containers.network(lab)
        known = {host.address: {"id": "i-0123456789abcdef0", "zone": host.zone, "name": host.name}}
        s3.store(lab, known, images.ensure("efs", "half a minute"))


if __name__ == "__main__":
    main()
