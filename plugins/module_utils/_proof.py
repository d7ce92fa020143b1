# Copyright: samefiles.aws contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that every host serves the same bytes: what is written, what counts as agreement, and how it is told."""

from __future__ import annotations

import hashlib
import html
import zlib

_CURE = "run site.yml, which mends it"
FOLDER = ".samefiles-proof"  # in the share's root, while a proof runs
BALANCER = "balancer"  # stands among the hosts in the site's matrix


def token(run: str, host: str, path: str) -> bytes:
    """The bytes that a host writes in this run: 4 KiB that nobody can have who has not read them or knows the run."""
    seed = f"{run} {host} {path}".encode()
    return b"".join(hashlib.sha256(seed + str(number).encode()).hexdigest().encode() for number in range(64))


def token_name(path: str, host: str) -> str:
    """The file of a host's token. It names the path too: two mounts may show one folder."""
    return f"{host}.{zlib.crc32(path.encode()):08x}"


def drift(host: str, plan, known: list[str]) -> list[str]:
    """What a plan that should be empty says about a host, one sentence for each thing; known problems name their path."""
    said = []
    for path, verdict in sorted(plan.verdicts.items()):
        if any(f" {path} " in f"{problem} " for problem in known):
            continue
        if verdict.what == "absent":
            said.append(f"{host}: nothing is mounted at {path}: {_CURE}")
        elif verdict.what != "right":
            said.append(f"{host}: {path} is not what it should be, {verdict.why}: {_CURE}")
    texts = {
        "write": "{0} is not what it should be",
        "remove": "{0} should not be there",
        "enable": "{0} is not enabled, so it would not start at boot",
        "start": "{0} does not run",
        "read_ahead": "the read-ahead of {0} is not what it should be",
        "root": "owner, group or mode of the share at {0} are not what they should be",
        "point": "the mountpoint {0} is not guarded",
    }
    # of a mount that is to be made anew, or cannot be asked, nothing more is said than that
    unknown = {path for path, verdict in plan.verdicts.items() if verdict.what != "right"}
    for step in plan.steps:
        if step.kind in texts and step.target not in unknown:
            said.append(f"{host}: {texts[step.kind].format(step.target)}: {_CURE}")
    return said


def writers(writes: dict[str, dict]) -> dict[str, list[str]]:
    """The hosts that wrote a token, by path."""
    found: dict[str, list[str]] = {}
    for host, answer in writes.items():
        for path in answer.get("written") or {}:
            found.setdefault(path, []).append(host)
    return found


def judge(
    hosts: list[str], looks: dict[str, dict], writes: dict[str, dict], reads: dict[str, dict], site: dict | None = None
) -> dict:
    """All hosts' answers as one proof: {"agree", "mounts": [{"path", "file_system", "pairs"}], "site", "problems"}.

    looks, writes and reads are the results of those steps by host; a host without one did not answer. site is what the
    controller found through the balancer ({"url", "read", "problems"}), None where no site is proved.
    """
    problems = []
    for host in hosts:
        look = looks.get(host) or {}
        if "mounts" not in look:
            why = " ".join(str(look.get("msg") or "").split())
            problems.append(f"{host}: did not answer" + (f" ({why})" if why else "") + ": see whether it runs")
        for results in (looks, writes, reads):
            problems += (results.get(host) or {}).get("problems") or []
    mounts = []
    for path in sorted({mount["path"] for look in looks.values() for mount in look.get("mounts") or []}):
        mount, disputes = _mount(path, hosts, looks, reads)
        mounts.append(mount)
        problems += disputes
        problems += _disagreements(path, hosts, mount["pairs"], {problem.partition(":")[0] for problem in problems})
    if not mounts and not problems:
        problems.append("there is nothing to prove: no server has a mount that can be written to")
    proved = _site(hosts, reads, site) if site else None
    if proved:
        problems += site["problems"]
        explained = {problem.partition(":")[0] for problem in problems}
        problems += _disagreements("the site", hosts, proved["pairs"], explained)
    pairs = [pair for part in [*mounts, proved or {"pairs": []}] for pair in part["pairs"]]
    agree = not problems and bool(mounts) and all(pair["same"] for pair in pairs)
    return {"agree": agree, "mounts": mounts, "site": proved, "problems": problems}


def _mount(path: str, hosts: list[str], looks: dict[str, dict], reads: dict[str, dict]) -> tuple[dict, list[str]]:
    """One path's matrix, and a sentence when the hosts are to mount different file systems there."""
    wanted = {
        host: mount["file_system"]
        for host in hosts
        for mount in (looks.get(host) or {}).get("mounts") or []
        if mount["path"] == path
    }
    systems = sorted(set(wanted.values()))
    disputes = []
    if len(systems) > 1:
        disputes.append(f"{path}: the servers are to mount different file systems there: {', '.join(systems)}")
    # a host that did not answer is expected to have the mount; one that answered tells
    there = [host for host in hosts if host in wanted or "mounts" not in (looks.get(host) or {})]
    found = {host: (reads.get(host) or {}).get("read", {}).get(path, {}) for host in hosts}
    pairs = [_pair(found[reader].get(writer, {}), writer, reader) for writer in there for reader in there]
    return {"path": path, "file_system": systems[0], "pairs": pairs}, disputes


def _site(hosts: list[str], reads: dict[str, dict], site: dict) -> dict:
    """The site's matrix: who served the file that was uploaded through whom."""
    everyone = [*hosts, BALANCER] if site["url"] else hosts
    found = {host: (reads.get(host) or {}).get("site") or {} for host in hosts}
    found[BALANCER] = site["read"]
    pairs = [_pair(found[reader].get(writer, {}), writer, reader) for writer in everyone for reader in everyone]
    return {"url": site["url"], "pairs": pairs}


def _pair(found: dict, writer: str, reader: str) -> dict:
    """One reading, with the words of a missing one."""
    pair = {"written_by": writer, "read_by": reader, "same": bool(found.get("same")), "lag_ms": found.get("lag_ms")}
    return pair if pair["same"] else {**pair, "fault": found.get("fault") or "it was not written, or not read"}


def _disagreements(path: str, hosts: list[str], pairs: list[dict], explained: set[str]) -> list[str]:
    """A sentence for each pair that fails, unless one of its hosts has been named already."""
    return [
        f"{pair['read_by']}: does not serve what {pair['written_by']} wrote to {path}: {pair['fault']}"
        for pair in pairs
        if not pair["same"] and not {pair["written_by"], pair["read_by"]} & explained
    ]


def _word(pair: dict) -> str:
    """How one reading went, in a word."""
    if pair["same"]:
        return "same"
    return "differs" if pair["fault"].startswith("other bytes") else "fails"


def _matrix(title: str, verb: str, other: str, pairs: list[dict]) -> str:
    hosts = list(dict.fromkeys(pair["written_by"] for pair in pairs))
    cells = {
        (pair["written_by"], pair["read_by"]): f"{pair['lag_ms']} ms" if pair["same"] else _word(pair).upper()
        for pair in pairs
    }
    wide = max([len(host) for host in hosts] + [9])
    first = max(len(verb), len(other)) + 1 + wide
    rows = [
        f"{verb} {writer}".ljust(first) + "".join(f"  {cells[writer, reader].rjust(wide)}" for reader in hosts)
        for writer in hosts
    ]
    head = other.rjust(first) + "".join(f"  {host.rjust(wide)}" for host in hosts)
    return "\n".join([title, head, *rows])


def table(proof: dict) -> str:
    """The matrices as text: milliseconds from the reader's first open, or first request, to the right bytes."""
    parts = [
        _matrix(f"{mount['path']} = {mount['file_system']}", "written by", "read by", mount["pairs"])
        for mount in proof["mounts"]
    ]
    if proof["site"]:
        parts.append(_matrix("the site", "uploaded through", "served by", proof["site"]["pairs"]))
    return "\n\n".join(parts)


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


def _cell(pair: dict) -> str:
    if pair["same"]:
        return f"<td>same<small>{pair['lag_ms']} ms</small></td>"
    return f'<td class="bad">{_word(pair)}<small>{html.escape(pair["fault"])}</small></td>'


def _section(title: str, sub: str, corner: str, pairs: list[dict]) -> str:
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


def page(proof: dict, when: str) -> str:
    """The proof as one HTML file that loads nothing else."""
    hosts = sorted({pair["written_by"] for mount in proof["mounts"] for pair in mount["pairs"]})
    parts = [*proof["mounts"], *([proof["site"]] if proof["site"] else [])]
    pairs = [pair for part in parts for pair in part["pairs"]]
    good = sum(pair["same"] for pair in pairs)
    if proof["agree"]:
        who = {1: "The one server serves its", 2: "Both servers serve the same"}
        title = who.get(len(hosts), f"All {len(hosts)} servers serve the same") + " files"
        mark, kind = _TICK, ""
    else:
        title, mark, kind = "The servers do not agree", _CROSS, " bad"
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
        sub = f"balancer <code>{url}</code>" if url else "each server by itself"
        sections += _section("The site", sub, "uploaded through ↓ &nbsp; served by →", proof["site"]["pairs"])
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head>
<body><main><div class="verdict{kind}">{mark}<div><h1>{html.escape(title)}</h1><p>{line}</p></div></div>
{listing}{sections}
<footer>Each server wrote a file of its own; every server opened all of them, by names that it had asked for before they
existed. The time runs from a reader's first open, or first request, to the right bytes. {html.escape(when)}</footer>
</main></body></html>
"""
