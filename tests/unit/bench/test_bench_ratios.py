"""What the bench of s3_sync says of its figures, and what it refuses to measure."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.bench import ratios
from tests.support import ROOT

ALL = "all targets met"


def row(cpu: float, wall: float = 1.0, memory: float = 50) -> ratios.Row:
    return ratios.Row(cpu, wall, memory, {"PUT": 2, "GET": 1})


@pytest.mark.parametrize(
    ("value", "limit", "outcome"),
    [
        (0.5, 1.1, "met"), (1.044, 1.1, "met"), (1.046, 1.1, "undecided"), (1.1, 1.1, "undecided"), (1.154, 1.1, "undecided"),
        (1.156, 1.1, "MISSED"), (9, 1.1, "MISSED"), (0.047, 0.05, "met"), (0.048, 0.05, "undecided"), (0.052, 0.05, "undecided"),
        (0.053, 0.05, "MISSED"), (0.61, 0.6, "undecided"), (0.76, 0.6, "MISSED"), (0, 0.6, "met"),
    ],
)  # fmt: skip
def test_within_five_percent_of_its_limit_a_target_is_undecided(value, limit, outcome):
    assert ratios.verdict(value, limit) == outcome


@pytest.mark.parametrize(
    ("work", "peer", "mine", "other", "said", "outcomes"),
    [
        ("upload", "before", row(1.0), row(1.0), "1.00  1.00   (target 1.1 of processor time: met)", ["met"]),
        ("upload", "before", row(1.12), row(1.0), "1.12  1.00   (target 1.1 of processor time: undecided)", ["undecided"]),
        ("first look", "before", row(1.2), row(1.0), "1.20  1.00   (target 1.1 of processor time: MISSED)", ["MISSED"]),
        ("no-op", "before", row(1.0, 3), row(1.0, 1), "1.00  3.00   (target 1.1 of processor time: met)", ["met"]),
        ("upload", "rclone", row(0.4, 0.3), row(1.0), "0.40  0.30   (target 0.5: met)", ["met"]),
        ("upload", "rclone", row(0.4, 0.51), row(1.0), "0.40  0.51   (target 0.5: undecided)", ["undecided"]),
        ("upload", "rclone", row(0.51, 0.6), row(1.0), "0.51  0.60   (target 0.5: MISSED)", ["MISSED"]),
        ("upload", "rclone-tuned", row(9), row(1.0), "9.00  1.00", []),
    ],
)  # fmt: skip
def test_a_peer_and_its_target(work, peer, mine, other, said, outcomes):
    text, verdicts = ratios.compared(work, peer, [mine], [other], ratios.targets(10_000))
    assert (text.strip(), verdicts) == (said, outcomes)


def test_from_100000_files_a_target_is_harder():
    limits = {files: ratios.targets(files)["no-op", "rclone-tuned"] for files in (99_999, 100_000)}
    assert limits == {99_999: 1.5, 100_000: 1.0}
    assert ratios.targets(10_000) == ratios.TARGETS


@pytest.mark.parametrize(
    ("work", "rows", "said"),
    [
        ("large up", {"ours": row(1.0, 2.0), "aws": row(2.0, 1.0), "s5cmd": row(1.0, 4.0)}, "1.00 2.00 (target 1.2: MISSED)"),
        ("large down", {"ours": row(1.0), "rclone": row(1.0)}, "1.00 1.00 (target 1.2: met)"),
        ("large up", {"before": row(0.1), "ours": row(1.18), "rclone": row(1.0)}, "1.18 1.00 (target 1.2: undecided)"),
        ("large up", {"before": row(0.1), "ours": row(1.0)}, None),
        ("large up", {"ours": row(1.0)}, None),
        ("large up", {"rclone": row(1.0)}, None),
        ("upload", {"ours": row(1.0), "rclone": row(1.0)}, None),
    ],
)  # fmt: skip
def test_the_best_of_the_tools_is_never_a_former_version(work, rows, said):
    lines, verdicts = ratios.to_best(work, rows)
    assert lines == ([f"  to the best of each: {said}"] if said else [])
    assert len(verdicts) == len(lines) and all(outcome in said for outcome in verdicts)


def test_the_table_of_one_work():
    runs = {"before": [row(2.0)], "ours": [row(1.0, 0.5)], "rclone": [row(1.9, 1.0, 70)]}
    lines, verdicts = ratios.table("upload", runs, ratios.TARGETS)
    assert lines == [
        "upload",
        "  before           2.00     1.00     50    0.50  0.50   (target 1.1 of processor time: met)   1 GET, 2 PUT",
        "  ours             1.00     0.50     50   1 GET, 2 PUT",
        "  rclone           1.90     1.00     70    0.53  0.50   (target 0.5: MISSED)   1 GET, 2 PUT",
    ]
    assert verdicts == ["met", "MISSED"]
    del runs["ours"]
    lines, verdicts = ratios.table("upload", runs, ratios.TARGETS)
    assert (len(lines), verdicts) == (3, [])


def test_a_machine_that_slows_down_makes_no_version_slower():
    before = [row(1.0, 2.0), row(1.1, 2.0), row(2.0, 4.0), row(2.1, 4.0), row(1.0, 2.0)]
    ours = [row(1.0, 2.0), row(2.2, 4.0), row(2.0, 4.0), row(2.1, 4.0), row(1.0, 2.0)]
    assert ratios.of_rounds(ours, before) == (1.0, 1.0)
    assert ratios.of_medians(ours, before) == (2.0 / 1.1, 2.0)
    assert ratios.compared("no-op", "before", ours, before, {})[1] == ["met"]
    assert ratios.compared("no-op", "rclone", ours, before, {("no-op", "rclone"): 1.5})[1] == ["MISSED"]


def test_a_version_that_is_slower_is_slower_in_each_round():
    before = [row(cpu) for cpu in (1.0, 3.0, 2.0)]
    ours = [row(1.2 * cpu) for cpu in (1.0, 3.0, 2.0)]
    assert ratios.of_rounds(ours, before)[0] == pytest.approx(1.2)
    assert ratios.compared("no-op", "before", ours, before, {})[1] == ["MISSED"]


def test_medians_the_most_memory_the_last_requests():
    rows = [ratios.Row(cpu, 10 - cpu, memory, {"GET": memory}) for cpu, memory in ((1.0, 7), (9.0, 9), (2.0, 8))]
    assert ratios.middle(rows) == ratios.Row(2.0, 8.0, 9, {"GET": 8})


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([], ALL),
        (["met", "met"], ALL),
        (["met", "undecided"], "no target missed, 1 undecided"),
        (["MISSED", "undecided", "undecided"], "1 target missed, 2 undecided"),
        (["MISSED", "met", "MISSED"], "2 targets missed"),
    ],
)
def test_the_last_line(verdicts, said):
    assert ratios.summary(verdicts) == said


@pytest.mark.parametrize(
    ("given", "former", "names"),
    [
        (None, False, "community aws s5cmd rclone rclone-tuned ours"),
        (None, True, "before ours rclone rclone-tuned"),
        ("", True, "before ours rclone rclone-tuned"),
        ("ours before", True, "ours before"),
        ("ours rclone", True, "before ours rclone"),
        ("ours rclone", False, "ours rclone"),
    ],
)
def test_who_is_measured(given, former, names):
    assert ratios.peers(given, former) == names.split()


@pytest.mark.parametrize("names", ["before ours", "before ours rclone", "before ours rclone rclone-tuned"])
def test_no_peer_is_always_before_another(names):
    names = names.split()
    rounds = [ratios.order(names, number) for number in range(2 * len(names))]
    assert all(sorted(peers) == sorted(names) for peers in rounds)
    assert {peers[0] for peers in rounds} == set(names)
    for number in range(0, len(rounds), 2):
        first, second = rounds[number : number + 2]
        assert first == second[::-1]
    leads = [peers.index("before") < peers.index("ours") for peers in rounds]
    assert sum(leads) == len(names)
    assert len(set(leads[:3])) == 2


def test_no_peers_have_an_order_too():
    assert ratios.order([], 3) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PEERS": "before ours"}, "PEERS names before, so BEFORE must be the path of another checkout of this repository.\n"),
        ({"PEERS": "before ours", "BEFORE": ""}, "PEERS names before, so BEFORE must be the path of another checkout of this repository.\n"),
        ({"BEFORE": "{}/none"}, "BEFORE must be the path of a checkout of this repository, and there is none at {}/none.\n"),
        ({"BEFORE": "{}"}, "BEFORE must be the path of a checkout of this repository, and there is none at {}.\n"),
        ({"BEFORE": f"{ROOT}/tests"}, f"BEFORE must be the path of a checkout of this repository, and there is none at {ROOT}/tests.\n"),
    ],
)  # fmt: skip
def test_without_a_former_version_one_sentence(tmp_path, given, said):
    variables = {name: value for name, value in os.environ.items() if name not in ("PEERS", "BEFORE")}
    variables |= {name: value.format(tmp_path) for name, value in given.items()}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/bench/s3.py")], env=variables, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said.format(tmp_path))
