"""How the steps of a release are carried out."""

from __future__ import annotations

import pytest
from ansible_collections.samefiles.aws.plugins.module_utils._host import executor, process
from ansible_collections.samefiles.aws.plugins.module_utils._webapp import apply
from ansible_collections.samefiles.aws.plugins.module_utils._webapp.steps import (
    ReloadUnit,
)


@pytest.mark.parametrize(
    ("code", "said", "again"),
    [
        # refused: the former configuration stays in use, and there is nothing to roll back
        (1, "reload the front failed: Job failed; its last log lines: no room", 0),
        # whether it was done is not known
        (None, "reload the front failed: Job failed", 1),
    ],
)
def test_a_reload_that_is_refused_says_why(monkeypatch, code, said, again):
    commands = []

    def run(argv, _timeout):
        commands.append(argv[:2])
        if argv[0] == "journalctl":
            return process.Done(0, "no room", "")
        return process.Done(code, "", "Job failed")

    monkeypatch.setattr(apply.process, "run", run)
    given = {"archive": "", "environment": {}, "health_path": "/", "start_timeout": 1, "port": 80}
    step = ReloadUnit("reload the front", "webapp-front.service")
    with pytest.raises(executor.Failed) as fault:
        apply.Executor(1, given).run([step])
    assert str(fault.value).startswith(said)
    assert commands.count(["systemctl", "reload"]) == 1 + again
