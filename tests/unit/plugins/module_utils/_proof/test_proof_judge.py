"""The proof: what counts as agreement, and how it is reported."""

from __future__ import annotations

import json

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import identify
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount import plan as _plan
from ansible_collections.samefiles.aws.plugins.module_utils._efs_mount.steps import SetReadAhead, StartTunnel
from ansible_collections.samefiles.aws.plugins.module_utils._host import steps
from ansible_collections.samefiles.aws.plugins.module_utils._proof import judge
from ansible_collections.samefiles.aws.plugins.plugin_utils import proof_page

from tests.support.efs_host import FS, OTHER
from tests.support.proof_results import HOSTS, PATH, good, hung


def test_a_token_is_of_one_run_one_host_and_one_path():
    tokens = {judge.token(*words) for words in (("r", "h", "p"), ("R", "h", "p"), ("r", "H", "p"), ("r", "h", "P"))}
    assert len(tokens) == 4
    assert {len(token) for token in tokens} == {4096}
    assert judge.token("r", "h", "p") in tokens


def test_all_agree():
    proof = judge.judge(**good())
    assert (proof["agree"], proof["problems"]) == (True, [])
    assert len(proof["mounts"][0]["pairs"]) == 9
    assert proof["mounts"][0]["pairs"][1] == {"written_by": "web-01", "read_by": "web-02", "same": True, "lag_ms": 2.5}


def host_missing(results):
    for name in ("inspections", "writes", "reads"):
        del results[name]["web-02"]


def host_unreachable(results):
    host_missing(results)
    results["inspections"]["web-02"] = {"unreachable": True, "msg": "Failed to connect\n to the host via ssh"}


def other_bytes(results):
    results["reads"]["web-03"]["read"][PATH]["web-01"] = {"same": False, "fault": "other bytes"}


def never_read(results):
    del results["reads"]["web-03"]["read"][PATH]["web-01"]


def other_file_system(results):
    results["inspections"]["web-02"]["mounts"][0]["file_system"] = OTHER


@pytest.mark.parametrize(
    ("fault", "problems"),
    [
        (host_missing, ["web-02: did not answer: see whether it runs"]),
        (host_unreachable, ["web-02: did not answer (Failed to connect to the host via ssh): see whether it runs"]),
        (other_bytes, [f"web-03: does not serve what web-01 wrote to {PATH}: other bytes"]),
        (never_read, [f"web-03: does not serve what web-01 wrote to {PATH}: it was not written, or not read"]),
        (other_file_system, [f"{PATH}: the servers are to mount different file systems there: {FS}, {OTHER}"]),
        (hung, [f"web-02: {FS} at {PATH} does not answer"]),
    ],
)
def test_any_disagreement_is_named_and_fails(fault, problems):
    results = good()
    fault(results)
    proof = judge.judge(**results)
    assert proof["agree"] is False
    assert proof["problems"] == problems


@pytest.mark.parametrize("hosts", [[], ["web-01"]])
def test_nothing_to_prove_is_no_proof(hosts):
    proof = judge.judge(hosts, {host: {} for host in hosts}, {}, {})
    assert proof["agree"] is False
    proof = judge.judge(**{**good(hosts), "inspections": {host: {"mounts": []} for host in hosts}})
    assert proof["agree"] is False


def test_a_mount_that_only_some_hosts_have_is_proved_among_them():
    results = good()
    results["inspections"]["web-02"]["mounts"].append({"path": "/srv/more", "file_system": OTHER})
    results["reads"]["web-02"]["read"]["/srv/more"] = {"web-02": {"same": True, "lag_ms": 1.0}}
    proof = judge.judge(**results)
    assert (proof["agree"], [len(mount["pairs"]) for mount in proof["mounts"]]) == (True, [9, 1])


def test_two_mounts_of_one_directory_have_tokens_of_their_own():
    assert judge.token_name("/a", "web-01") != judge.token_name("/b", "web-01")


def test_one_host_alone_agrees_with_itself():
    proof = judge.judge(**good(["web-01"]))
    assert proof["agree"] is True
    assert "The one server serves its files" in proof_page.page(proof, "now")


def test_the_table():
    results = good(["web-01", "a-server-with-a-long-name"])
    results["reads"]["web-01"]["read"][PATH]["web-01"] = {"same": False, "fault": "other bytes"}
    lines = judge.table(judge.judge(**results)).splitlines()
    assert lines[0] == f"{PATH} = {FS}"
    assert lines[2].split() == ["written", "by", "web-01", "DIFFERS", "2.5", "ms"]
    assert len({len(line) for line in lines[1:]}) == 1, "the columns do not line up"


def with_site(hosts=HOSTS) -> dict:
    """Answers that agree, the site and the balancer included."""
    results = good(hosts)
    everyone = [*hosts, judge.BALANCER]
    for host in hosts:
        results["reads"][host]["site"] = {writer: {"same": True, "lag_ms": 3.0} for writer in everyone}
    read = {writer: {"same": True, "lag_ms": 4.0} for writer in everyone}
    return {**results, "site": {"url": "http://site", "read": read, "problems": []}}


def test_the_site_is_part_of_the_proof():
    proof = judge.judge(**with_site())
    assert (proof["agree"], len(proof["site"]["pairs"])) == (True, 16)
    assert "uploaded through balancer" in judge.table(proof)
    assert "The site" in proof_page.page(proof, "now")
    results = with_site()
    results["site"]["url"] = ""  # there is no balancer
    proof = judge.judge(**results)
    assert (proof["agree"], len(proof["site"]["pairs"])) == (True, 9)


def in_s3(hosts=HOSTS) -> dict:
    """Answers of hosts that have no mount, and their files in a bucket."""
    results = with_site(hosts)
    for host in hosts:
        results["inspections"][host]["mounts"] = []
        results["writes"][host] = {"written": {}, "bucket": "bkt", "problems": []}
        results["reads"][host]["read"] = {}
    return results


def test_a_fleet_without_mounts_is_proved_by_its_site():
    proof = judge.judge(**in_s3())
    assert (proof["agree"], proof["mounts"], proof["site"]["bucket"], proof["site"]["storage"]) == (
        True,
        [],
        "bkt",
        "s3",
    )
    assert judge.table(proof).startswith("the site, its files in the bucket bkt\n")
    page = proof_page.page(proof, "now")
    assert "All 3 servers serve the same files" in page
    assert "files in the bucket <code>bkt</code> of S3" in page
    assert "straight to S3" in page
    assert "before they existed" not in page
    json.dumps(proof)


def test_servers_with_files_in_different_places_do_not_agree():
    results = in_s3()
    results["writes"]["web-02"]["bucket"] = ""
    proof = judge.judge(**results)
    assert proof["agree"] is False
    assert proof["problems"] == ["the site: the servers keep its files in different places: EFS, the bucket bkt"]


def not_served(results):
    results["reads"]["web-02"]["site"]["web-01"] = {"same": False, "fault": "HTTP 404 after 40 s"}


def not_through_the_balancer(results):
    results["site"]["read"].pop("web-01")


def not_gone(results):
    results["site"]["problems"] = ["web-02: still serves the file of web-01, which was deleted"]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (not_served, "web-02: does not serve what web-01 wrote to the site: HTTP 404 after 40 s"),
        (
            not_through_the_balancer,
            "balancer: does not serve what web-01 wrote to the site: it was not written, or not read",
        ),
        (not_gone, "web-02: still serves the file of web-01, which was deleted"),
    ],
)
def test_a_site_that_disagrees_fails_the_proof(fault, problem):
    results = with_site()
    fault(results)
    proof = judge.judge(**results)
    assert (proof["agree"], proof["problems"]) == (False, [problem])


def test_what_a_plan_says_about_a_host():
    plan = _plan.Plan(
        steps=[
            steps.WriteFile("", "/etc/fstab", ""),
            steps.EnableUnit("", "a.service"),
            StartTunnel("", "a.service", 21100),
            SetReadAhead("", "/gone", 15360),
            steps.ReloadSystemd(""),
        ],
        verdicts={
            "/gone": identify.Verdict("absent"),
            "/other": identify.Verdict("wrong", f"it is {OTHER}"),
            "/right": identify.Verdict("right"),
            "/known": identify.Verdict("unproven", "?"),
        },
    )
    assert judge.drift("web-01", plan, ["web-01: /known hangs"]) == [
        "web-01: nothing is mounted at /gone: run site.yml, which repairs it",
        f"web-01: /other is not what it should be, it is {OTHER}: run site.yml, which repairs it",
        "web-01: /etc/fstab is not what it should be: run site.yml, which repairs it",
        "web-01: a.service is not enabled, so it would not start at boot: run site.yml, which repairs it",
        "web-01: a.service does not run: run site.yml, which repairs it",
    ]
