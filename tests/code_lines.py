"""Counts lines of code of our Python: no blank lines, comments, docstrings or module documentation.

python tests/code_lines.py [COMMIT]      # the working tree without one
"""

import ast
import subprocess
import sys
from collections import Counter

PLACES = {"plugins": "plugins/", "gallery": "roles/webapp/files/", "lab": "lab/", "tests": ("tests/", "molecule/")}


def lines(text: str) -> int:
    """Lines on which code stands: a string that is a statement, or the value of an upper-case name, is documentation."""
    used: set[int] = set()
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        value = getattr(node, "value", None)
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            document = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
                "DOCUMENTATION",
                "EXAMPLES",
                "RETURN",
            )
            if document or isinstance(node, ast.Expr):
                skipped.update(range(node.lineno, node.end_lineno + 1))
        if hasattr(node, "lineno"):
            used.update({node.lineno, node.end_lineno})
    return len(used - skipped)


def main(commit: str = "") -> None:
    git = ["git", "ls-tree", "-r", "--name-only", commit] if commit else ["git", "ls-files"]
    counts: Counter = Counter()
    for path in subprocess.run(git, capture_output=True, text=True, check=True).stdout.split("\n"):
        place = next((name for name, start in PLACES.items() if path.startswith(start)), None)
        if place and path.endswith(".py"):
            shown = ["git", "show", f"{commit}:{path}"] if commit else ["cat", path]
            counts[place] += lines(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)
    print(*(f"{name} {counts[name]}" for name in PLACES), f"all {sum(counts.values())}", sep="  ")


if __name__ == "__main__":
    main(*sys.argv[1:])
