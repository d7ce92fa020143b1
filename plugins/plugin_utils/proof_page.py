# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof page: its text, its style, and the proof written as one HTML file."""

from __future__ import annotations

import html
from typing import Any

from ansible_collections.samefiles.aws.plugins.module_utils._proof import judge

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5d6773; --paper: #f6f7f9; --card: #fff; --line: #dfe3e8;
  --good: #12805c; --good-bg: #e3f5ee; --bad: #b3261e; --bad-bg: #fdeceb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --dim: #9aa4b0; --paper: #14171b; --card: #1d2126;
  --line: #333a42; --good: #5fd3a8; --good-bg: #12352a; --bad: #ff8a80; --bad-bg: #43201e; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; }
.verdict { display: flex; gap: 1rem; align-items: center; padding: 1.25rem 1.5rem; border-radius: 14px;
  background: var(--good-bg); color: var(--good); }
.verdict.bad { background: var(--bad-bg); color: var(--bad); }
.verdict svg { flex: none; width: 2.75rem; height: 2.75rem; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; }
.verdict p { margin: .15rem 0 0; opacity: .85; }
section { margin-top: 1.5rem; padding: 1.25rem 1.5rem 1.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; overflow-x: auto; }
h2 { margin: 0 0 .15rem; font-size: 1.1rem; }
h2 code { font-size: 1em; }
.sub { margin: 0 0 1rem; color: var(--dim); font-size: .9rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
table { border-collapse: separate; border-spacing: 4px; }
th { font-weight: 600; font-size: .85rem; padding: .35rem .6rem; text-align: left; white-space: nowrap; }
thead th { text-align: center; }
th.corner { color: var(--dim); font-weight: 400; }
td { min-width: 6.5rem; padding: .6rem .75rem; border-radius: 8px; text-align: center; background: var(--good-bg);
  color: var(--good); font-variant-numeric: tabular-nums; font-weight: 600; }
td small { display: block; font-weight: 400; opacity: .8; }
td.bad { background: var(--bad-bg); color: var(--bad); }
ul { margin: .5rem 0 0; padding-left: 1.25rem; }
li { margin: .35rem 0; overflow-wrap: anywhere; }
footer { margin-top: 1.5rem; color: var(--dim); font-size: .85rem; }
"""
_SIGN = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" aria-hidden="true">'
    '<circle cx="12" cy="12" r="10"/><path d="{}"/></svg>'
)
_TICK = _SIGN.format("m7.5 12.5 3 3 6-6.5")
_CROSS = _SIGN.format("m8.5 8.5 7 7m0-7-7 7")


def _cell(pair: dict[str, Any]) -> str:
    if pair["same"]:
        return f"<td>same<small>{pair['lag_ms']} ms</small></td>"
    return f'<td class="bad">{judge.word(pair)}<small>{html.escape(pair["fault"])}</small></td>'


def _section(title: str, sub: str, corner: str, pairs: list[dict[str, Any]]) -> str:
    hosts = list(dict.fromkeys(pair["written_by"] for pair in pairs))
    by = {(pair["written_by"], pair["read_by"]): pair for pair in pairs}
    head = "".join(f'<th scope="col">{html.escape(host)}</th>' for host in hosts)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(writer)}</th>'
        + "".join(_cell(by[writer, reader]) for reader in hosts)
        + "</tr>"
        for writer in hosts
    )
    return (
        f'<section><h2>{title}</h2><p class="sub">{sub}</p>'
        f'<table><thead><tr><th class="corner">{corner}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _how(proof: dict[str, Any]) -> str:
    """What was done, in words."""
    said = []
    if proof["mounts"] or not proof["site"]:
        said.append(
            "Each server wrote a file of its own; every server opened all of them, by names that it had asked for before "
            "they existed."
        )
    if proof["site"] and proof["site"]["bucket"]:
        said.append(
            "Through each server a file was uploaded as a browser does, with a ticket and straight to S3; every server "
            "lists all of them, and its link to each pointed to S3, which gave the bytes."
        )
    said.append("The time runs from a reader's first open, or first request, to the right bytes.")
    return " ".join(said)


def page(proof: dict[str, Any], when: str) -> str:
    """The proof as one HTML file that loads nothing else."""
    matrices = [*proof["mounts"], *([proof["site"]] if proof["site"] else [])]
    pairs = [pair for matrix in matrices for pair in matrix["pairs"]]
    hosts = {pair["written_by"] for pair in pairs} - {judge.BALANCER}
    good = sum(pair["same"] for pair in pairs)
    if proof["agree"]:
        who = {1: "The one server serves its", 2: "Both servers serve the same"}
        title = who.get(len(hosts), f"All {len(hosts)} servers serve the same") + " files"
        mark, css_class = _TICK, ""
    else:
        title, mark, css_class = "The servers do not agree", _CROSS, " bad"
    slowest = max((pair["lag_ms"] or 0 for pair in pairs if pair["same"]), default=0)
    line = f"{good} of {len(pairs)} readings gave the bytes that were written; the slowest took {slowest} ms."
    problems = "".join(f"<li>{html.escape(problem)}</li>" for problem in proof["problems"])
    listing = f"<section><h2>What is wrong</h2><ul>{problems}</ul></section>" if problems else ""
    sections = "".join(
        _section(
            f"<code>{html.escape(mount['path'])}</code>",
            f"file system <code>{html.escape(mount['file_system'])}</code>",
            "written by ↓ &nbsp; read by →",
            mount["pairs"],
        )
        for mount in proof["mounts"]
    )
    if proof["site"]:
        url = html.escape(proof["site"]["url"])
        sub = f"balancer <code>{url}</code>" if url else "each server alone"
        if proof["site"]["bucket"]:
            sub += f", files in the bucket <code>{html.escape(proof['site']['bucket'])}</code> of S3"
        sections += _section("The site", sub, "uploaded through ↓ &nbsp; served by →", proof["site"]["pairs"])
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head>
<body><main><div class="verdict{css_class}">{mark}<div><h1>{html.escape(title)}</h1><p>{line}</p></div></div>
{listing}{sections}
<footer>{_how(proof)} {html.escape(when)}</footer>
</main></body></html>
"""
