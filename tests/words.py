"""The words of CONTRIBUTING.md: names every place where a word stands for which the field has another one.

    python tests/words.py [DIRECTORY ...]

Two lists. The first holds for all tracked text, prose and identifiers; the second for the names that our Python and YAML
define, and there for whole parts of a name (`found_files`, not `foundation`). It ends with 1 where one is left.
"""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A word begins and ends where no letter is beside it, so that `_told_` in an identifier is one as well.
_B, _E = r"(?<![a-z])", r"(?![a-z])"
PROSE = {
    rf"{_B}(tell|tells|telling|told){_E}": "report, say, show",
    rf"{_B}heed(s|ed|ing|less)?{_E}": "honour",
    rf"{_B}mend(s|ed|ing)?{_E}": "fix, repair",
    rf"{_B}crews?{_E}": "worker pool",
    rf"{_B}stray(s|ed|ing)?{_E}": "wrong server",
    rf"{_B}(take|takes|took|taken|taking)[ _]((?!back)[\w']+[ _]){{0,3}}back{_E}": "roll back",
    rf"{_B}(lead|leads|led|leading)[ _]([\w']+[ _]){{0,2}}(to|nowhere|here|out|elsewhere){_E}": "point, route, redirect to",
    rf"{_B}folders?{_E}": "directory",
    rf"{_B}deadlines?{_E}": "timeout",
    rf"{_B}by[ _](itself|themselves){_E}": "automatically",
    rf"(?<!usr/)(?<!local/)(?<!\.){_B}shares?{_E}": "the mount, the file system; of several hosts: use the same",
}
NAMES = {
    "found": "entries", "there": "current", "one": "item", "ones": "items", "about": "stat",
    "kind": "what it is", "kinds": "what they are", "fresh": "to_mount", "revived": "restarted", "held": "deferred",
    "foreign": "unmanaged", "dead": "tunnel_down", "wire": "connection", "requests": "client", "answers": "responses",
    "where": "endpoint", "login": "session", "look": "compare", "looks": "compare", "looked": "compared",
    "sums": "checksums", "parts": "multipart", "learnt": "DiscoveredEndpoint", "begun": "InFlight",
    "away": "Unreachable", "torn": "ChecksumMismatch", "point": "mountpoint", "points": "mountpoints",
}  # fmt: skip
# What is rightly kept: (path, the text or name, why).
KEPT = [
    (r"^tests/.*test_\w+\.py$", r"^deadline$", "an argument of hypothesis"),
    (r"^tests/(unit/test_)?words\.py$", r".", "the lists themselves, and their test"),
    (r"^CONTRIBUTING\.md$", r".", "the glossary names what not to write"),
    (r"^(roles/\w+/tasks/renamed|playbooks/verify)\.yml$", r"^\w+$", "former names of variables are refused by name"),
    (r"^\.github/", r"^about$", "a key of GitHub's forms"),
    (r"^changelogs/fragments/names\.yml$", r"^\w+$", "former names, for those who set them"),
    (r"^tests/.*/test_\w+\.py$", r"^deadline$", "an argument of hypothesis"),
    (r"", r"(?i)access_?points?", "AWS's own name"),
]


def kept(path: str, text: str) -> bool:
    return any(re.search(place, path) and re.search(pattern, text) for place, pattern, _why in KEPT)


def prose(path: str, text: str) -> Iterator[str]:
    # a phrase may go on in the next line
    for pattern, better in PROSE.items():
        for match in re.finditer(pattern.replace("[ _]", r"(?:[ _]|[ \n#*>\"]+)"), text, re.IGNORECASE):
            word = " ".join(match[0].split())
            if not kept(path, word):
                yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {word!r}: {better}"


def defined(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a file gives: functions, classes, arguments, variables, attributes, keywords of calls."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield line, node.name
        elif isinstance(node, ast.arg):
            yield line, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield line, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield line, node.attr


def split(name: str) -> list[str]:
    """The parts of a name: MountPoint and mount_point are mount and point."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def names(path: str, text: str) -> Iterator[str]:
    if path.endswith(".py"):
        given = list(defined(ast.parse(text)))
        given.append((1, pathlib.PurePath(path).stem))
    else:  # variables and keys of our own are snake_case words before a colon, and what register names
        given = [
            (number, match[1])
            for number, line in enumerate(text.splitlines(), 1)
            for match in re.finditer(r"^\s*(?:- )?(?:(?:register|loop_var|index_var): )?(\w+)(?=: |:?$)", line)
        ]
    for line, name in given:
        bad = [part for part in split(name) if part in NAMES]
        # a test is named by a sentence
        if bad and not name.startswith("test_") and not kept(path, name):
            yield f"{path}:{line}: {name}: {', '.join(f'{part} -> {NAMES[part]}' for part in bad)}"


def main(places: list[str]) -> int:
    listed = subprocess.run(["git", "ls-files", *places], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    problems: list[str] = []
    for path in listed.splitlines():
        file = ROOT / path
        if path == "LICENSE" or file.is_symlink() or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture or an archive
            continue
        problems += prose(path, path)
        problems += prose(path, text)
        if path.endswith((".py", ".yml", ".yaml")):
            problems += names(path, text)
    for problem in sorted(set(problems)):
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
