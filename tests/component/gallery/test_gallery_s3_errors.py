"""What S3 says of an error: on AWS it names the account, the role and the instance. It is for the log alone."""

from __future__ import annotations

import time

import pytest
from gallery import keys

from tests.support import s3_server
from tests.support.gallery_server import check
from tests.support.gallery_tickets import confirm
from tests.support.seaweedfs import environment

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
ARN = "arn:aws:sts::123456789012:assumed-role/example-web/i-0123456789abcdef0"
OWN = f"User: {ARN} is not authorized to perform this"
WAY_OUT = "403 AccessDenied: allow it to the role or user that runs this"


@pytest.fixture
def s3():
    """The double."""
    with s3_server.Server() as server:
        yield server


@pytest.fixture
def server(start, s3):
    """A gallery over it that S3 refuses from now on."""
    settings = {"STORAGE": "s3", "BUCKET": "bkt", "REGION": s3_server.REGION, "ENDPOINT_URL": s3.url}
    aws = environment({"AccessKeyId": s3_server.KEY, "SecretAccessKey": s3_server.SECRET})
    made = start(aws=aws, PROBE_INTERVAL="0.3", **settings)
    wait_for(made, 200)
    refusal = s3_server.Refusal(403, "AccessDenied", message=OWN)
    s3.faults.append(s3_server.Fault("403", count=999, value=refusal))
    return made


def wait_for(server, status: int) -> None:
    until = time.monotonic() + 10
    while server.get("/readyz").status != status:
        assert time.monotonic() < until
        time.sleep(0.05)


def new_lines(server, done) -> list[str]:
    """The lines with S3's own words that the log gets while something is done."""
    before = len(server.log.read_text())
    done()
    return [line for line in server.log.read_text()[before:].splitlines() if ARN in line]


def test_visitors_do_not_see_what_s3_says_of_the_account(server):
    wait_for(server, 503)
    check(server.get("/readyz"), 503, WAY_OUT)
    page = server.get("/", Accept=BROWSER)
    assert (page.status, WAY_OUT in page.body.decode()) == (503, True)
    key = keys.new_key("a.png")
    asks = [
        lambda: server.get("/files"),
        lambda: server.get(f"/view/{key}"),
        lambda: server.get(f"/thumbs/{key}"),
        lambda: server.request("DELETE", f"/files/{key}"),
        lambda: confirm(server, key),
    ]
    responses = []
    for ask in asks:
        (line,) = new_lines(server, lambda ask=ask: responses.append(ask()))
        assert f"{WAY_OUT.split(':')[0]} {OWN}" in line
        check(responses[-1], 503, WAY_OUT)
    for answer in (server.get("/readyz"), page, *responses):
        assert "arn:aws" not in f"{answer.headers} {answer.body.decode()}"
    assert "Traceback" not in server.log.read_text()


def test_it_is_in_the_log_when_the_look_at_s3_is_refused(server):
    wait_for(server, 503)
    time.sleep(1)
    (line,) = [line for line in server.log.read_text().splitlines() if "readiness" in line and ARN in line]
    assert OWN in line
