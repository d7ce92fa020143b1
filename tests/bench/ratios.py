"""The figures of the S3 bench: medians, ratios, targets met or missed, and the table. Plain data in, plain data out.

A target is undecided, neither met nor missed, where the value lies within NEAR of the limit, on either side: two
measurements of the same differ by as much.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MET, MISSED, UNDECIDED = "met", "MISSED", "undecided"
NEAR = 0.05
OURS, FORMER = "ours", "before"
PEERS = ["community", "aws", "s5cmd", "rclone", "rclone-tuned", OURS]
PEERS_WITH_FORMER = [FORMER, OURS, "rclone", "rclone-tuned"]
TARGETS = {  # facts of the field, and what this project holds itself to
    ("upload", "rclone"): 0.5, ("upload", "aws"): 0.1, ("upload", "community"): 0.05, ("no-op", "rclone-tuned"): 1.5,
    ("no-op", "community"): 0.05, ("1 % changed", "rclone-tuned"): 1.5, ("download", "rclone"): 0.6,
}  # fmt: skip
BEST = ("large up", "large down")  # against the best tool, whichever it is
BEST_TARGET = 1.2
FORMER_TARGET = 1.1  # in all work, of processor time: wall time is what the machine has to spare


class Row(NamedTuple):
    """What one peer needed for one work: seconds, MiB, and requests by operation."""

    cpu: float
    wall: float
    memory: float
    request_counts: Mapping[str, int]


def peers(given: str | None, former: bool) -> list[str]:
    """The peers to measure, from the words of PEERS; a former version, if there is one, is always among them."""
    words = (given or "").split() or (PEERS_WITH_FORMER if former else PEERS)
    return [*([FORMER] if former and FORMER not in words else []), *words]


def order(names: Sequence[str], number: int) -> list[str]:
    """The peers in the order of a round; two rounds have each pair in both orders, and every peer is first at times."""
    turn = number // 2 % len(names) if names else 0
    turned = [*names[turn:], *names[:turn]]
    return turned[::-1] if number % 2 else turned


def targets(files: int) -> dict[tuple[str, str], float]:
    """The targets for that many files, by work and peer."""
    return {**TARGETS, **({("no-op", "rclone-tuned"): 1.0} if files >= 100_000 else {})}


def middle(rows: Sequence[Row]) -> Row:
    """Median processor and wall time, the most memory, the last requests."""
    cpu, wall = (statistics.median(row[place] for row in rows) for place in (0, 1))
    return Row(cpu, wall, max(row.memory for row in rows), rows[-1].request_counts)


def verdict(value: float, limit: float) -> str:
    """Whether a target is met."""
    if abs(value - limit) <= NEAR * limit:
        return UNDECIDED
    return MET if value < limit else MISSED


def of_medians(mine: Sequence[Row], other: Sequence[Row]) -> tuple[float, float]:
    """Processor and wall time beside a peer's, by their medians."""
    ours, theirs = middle(mine), middle(other)
    return ours.cpu / theirs.cpu, ours.wall / theirs.wall


def of_rounds(mine: Sequence[Row], other: Sequence[Row]) -> tuple[float, float]:
    """Processor and wall time beside a peer's, round by round: what slows a whole round down is in no ratio."""
    cpu = statistics.median(ours.cpu / theirs.cpu for ours, theirs in zip(mine, other))
    return cpu, statistics.median(ours.wall / theirs.wall for ours, theirs in zip(mine, other))


def compared(work: str, peer: str, mine: Sequence[Row], other: Sequence[Row], limits: Mapping) -> tuple[str, list[str]]:
    """The ratios of ours to a peer, and the verdict on their target if there is one."""
    if peer == FORMER:
        ratios = of_rounds(mine, other)
        limit, value, of = FORMER_TARGET, ratios[0], " of processor time"
    else:
        ratios = of_medians(mine, other)
        limit, value, of = limits.get((work, peer)), max(ratios), ""
    text = f"{ratios[0]:5.2f} {ratios[1]:5.2f}   "
    if limit is None:
        return text, []
    outcome = verdict(value, limit)
    return f"{text}(target {limit}{of}: {outcome})   ", [outcome]


def to_best(work: str, rows: Mapping[str, Row]) -> tuple[list[str], list[str]]:
    """The line on ours beside the best of all tools, where that is a target, and the verdict."""
    tools = [row for peer, row in rows.items() if peer not in (OURS, FORMER)]
    if work not in BEST or OURS not in rows or not tools:
        return [], []
    ratios = [rows[OURS][place] / min(row[place] for row in tools) for place in (0, 1)]
    outcome = verdict(max(ratios), BEST_TARGET)
    return [f"  to the best of each: {ratios[0]:.2f} {ratios[1]:.2f} (target {BEST_TARGET}: {outcome})"], [outcome]


def table(work: str, runs: Mapping[str, Sequence[Row]], limits: Mapping) -> tuple[list[str], list[str]]:
    """The lines on one work, a peer each, and the verdicts in them."""
    lines, verdicts = [], []
    rows = {peer: middle(rounds) for peer, rounds in runs.items()}
    for peer, row in rows.items():
        line = f"  {peer:<13}{row.cpu:8.2f} {row.wall:8.2f} {row.memory:6.0f}   "
        if OURS in rows and peer != OURS:
            text, outcomes = compared(work, peer, runs[OURS], runs[peer], limits)
            line += text
            verdicts += outcomes
        lines.append(line + ", ".join(f"{count} {name}" for name, count in sorted(row.request_counts.items())))
    more, outcomes = to_best(work, rows)
    return [work, *lines, *more], verdicts + outcomes


def summary(verdicts: Sequence[str]) -> str:
    """All verdicts in one line."""
    missed, undecided = verdicts.count(MISSED), verdicts.count(UNDECIDED)
    if not missed and not undecided:
        return "all targets met"
    return f"{missed or 'no'} target{'s' * (missed > 1)} missed" + (f", {undecided} undecided" if undecided else "")
