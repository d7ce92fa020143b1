# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a timer's sync, for Prometheus' textfile collector."""

from __future__ import annotations


def metrics(name: str, outcome: dict, succeeded: float) -> str:
    """The outcome for Prometheus' textfile collector; succeeded is the end of the last good run, 0 for none."""
    label = f'{{sync="{name}"}}'
    lines = [
        ("samefiles_s3_sync_ok", "Whether the last run succeeded", int(outcome["ok"])),
        ("samefiles_s3_sync_ended_seconds", "When the last run ended", round(outcome["ended"], 3)),
        ("samefiles_s3_sync_succeeded_seconds", "When the last good run ended", round(succeeded, 3)),
        ("samefiles_s3_sync_seconds", "How long the last run took", round(outcome["ended"] - outcome["began"], 3)),
    ]
    return "".join(f"# HELP {key} {text}\n# TYPE {key} gauge\n{key}{label} {value}\n" for key, text, value in lines)
