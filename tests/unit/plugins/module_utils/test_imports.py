"""Who may import whom, and what reaches a host because of it."""

from __future__ import annotations

import ast
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from ansible_collections.samefiles.aws.plugins.action import webapp_archive
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import apply

from tests.support import ROOT

HOME = "ansible_collections.samefiles.aws.plugins.module_utils"
PACKAGES = ROOT / "plugins/module_utils"
MAY = {
    "_host": set(),
    "_s3": set(),
    "_efs_mount": {"_host"},
    "_webapp": {"_host"},
    "_bucket": {"_s3"},
    "_s3_sync": {"_s3"},
    "_s3_schedule": {"_s3_sync", "_host"},
    "_proof": {"_efs_mount", "_host", "_s3"},
    "gallery": {"_s3"},
}


def imported(text: str) -> set[tuple[int, str]]:
    """What a module imports, as (dots in front, name)."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            names |= {(node.level, f"{name}.{alias.name}".lstrip(".")) for alias in node.names}
    return names


def faults(package: str, text: str) -> list[str]:
    """The imports of a module of a package that it may not have."""
    wrong = []
    for level, name in imported(text):
        if level == 0 and name.startswith("ansible_collections.samefiles."):
            other = name.removeprefix(f"{HOME}.").partition(".")[0] if name.startswith(f"{HOME}.") else name
            if package != "gallery" or other not in MAY[package]:
                wrong.append(name)
        elif (level == 2 and name.partition(".")[0] not in MAY[package]) or level > 2:
            wrong.append("." * level + name)
        elif level == 0 and name.partition(".")[0] in ("gallery", "lab", "ansible") and package != "gallery":
            wrong.append(name)
    return wrong


def sources(package: str) -> list[pathlib.Path]:
    directory = ROOT / "roles/webapp/files/gallery" if package == "gallery" else PACKAGES / package
    return sorted(directory.rglob("*.py"))


def test_every_package_has_its_rule():
    assert {path.name for path in PACKAGES.iterdir() if path.name != "__pycache__"} == set(MAY) - {"gallery"}


@pytest.mark.parametrize("package", MAY)
def test_a_package_imports_only_what_it_may(package):
    assert sources(package)
    assert {path.name: wrong for path in sources(package) if (wrong := faults(package, path.read_text()))} == {}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("_host", "from .._efs_mount import plan"),
        ("_s3", "from .._s3_sync.plan import Plan"),
        ("_webapp", "from .._efs_mount import facts"),
        ("_bucket", f"from {HOME}._s3 import client"),  # inside only relative imports
        ("_s3_sync", "from .. import _host"),
        ("_proof", "from ...plugin_utils import proof_page"),
        ("_efs_mount", "from gallery import keys"),
        ("_s3", "from ansible.module_utils.basic import AnsibleModule"),
        ("gallery", f"from {HOME}._host import process"),
        ("gallery", "from ansible_collections.samefiles.aws.plugins.plugin_utils import archive"),
    ],
)
def test_a_forbidden_import_is_seen(package, line):
    assert faults(package, line)


def test_no_package_is_imported_by_what_it_imports():
    def reached(package: str) -> set[str]:
        return MAY[package].union(*(reached(other) for other in MAY[package]))

    for package in MAY:
        assert package not in reached(package)


def of_file(path: pathlib.Path, package: str) -> set[str]:
    """The files of the same package that a file imports when it is loaded itself, by their dotted names within it."""
    files = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            home = (node.module or "").removeprefix("gallery").strip(".") if package == "gallery" else node.module or ""
            if node.level == 1 or (package == "gallery" and (node.module or "").partition(".")[0] == "gallery"):
                files |= {home, *(f"{home}.{alias.name}".strip(".") for alias in node.names)}
    return files


@pytest.mark.parametrize("package", MAY)
def test_no_file_is_loaded_by_what_it_loads(package):
    home = ROOT / "roles/webapp/files/gallery" if package == "gallery" else PACKAGES / package
    names = {".".join(path.relative_to(home).with_suffix("").parts): path for path in sources(package)}
    loads = {name: of_file(path, package) & set(names) for name, path in names.items()}
    assert len(names) == 1 or any(loads.values())
    while loads:
        free = [name for name, others in loads.items() if not others & set(loads)]
        assert free, f"a circle among {sorted(loads)}"
        loads = {name: others for name, others in loads.items() if name not in free}


# Inside gallery: browsers and S3 without a server between them know the storage, which knows the bucket.
GALLERY_MAY = {"s3": set(), "storage": {"s3"}, "direct": {"storage", "s3"}}


@pytest.mark.parametrize("package", GALLERY_MAY)
def test_no_two_packages_of_gallery_import_each_other(package):
    home = ROOT / "roles/webapp/files/gallery"
    assert {path.parent.name for path in home.glob("*/__init__.py")} == set(GALLERY_MAY)
    names = {name for path in (home / package).glob("*.py") for _level, name in imported(path.read_text())}
    # the contract that all storages keep is no storage
    reached = {
        name.split(".")[1] for name in names if name.startswith("gallery.") and "gallery.storage.base" not in name
    }
    assert reached & set(GALLERY_MAY) - {package} <= GALLERY_MAY[package]


def test_with_efs_gallery_loads_nothing_of_s3(tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from gallery import server, settings\n"
        "given = settings.from_environment({'GALLERY_STORAGE': 'efs', 'GALLERY_DIRECTORY': sys.argv[3], 'GALLERY_NAME': 'a',\n"
        "    'GALLERY_PUBLIC_UPLOADS': 'true', 'GALLERY_PORT': '8000'})\n"
        "server._configuration(given, server._storage(given), lambda: '').load()\n"
        "print([name for name in sys.modules if '_s3' in name or name.startswith(('gallery.s3', 'gallery.direct', 'gallery.storage.s3', 'boto'))])"
    )
    paths = [ROOT / "roles/webapp/files", ROOT / ".ansible/collections", tmp_path]
    argv = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# what ships


def test_timers_get_whole_packages():
    program = apply.program()
    directory = f"{apply.plan.PROGRAM_DIRECTORY}/{HOME.replace('.', '/')}"
    own = {
        f"{directory}/{package}/{path.name}": path.read_text()
        for package in apply.PACKAGES
        for path in sources(package)
    }
    assert {path: program[path] for path in own} == own
    rest = set(program) - set(own)
    assert {os.path.basename(path) for path in rest} == {"__init__.py", "s3_sync.py"}
    # what they import comes with them
    for package in apply.PACKAGES:
        assert MAY[package] <= set(apply.PACKAGES)


def test_ansible_sends_whole_packages_to_timers():
    """Ansible packs a module with what is imported, so a file of theirs that nothing imports would be missing on hosts."""
    todo, seen = [ROOT / "plugins/modules/s3_schedule.py"], set()
    while todo:
        path = todo.pop()
        for level, name in imported(path.read_text()):
            home = {1: path.parent, 2: path.parent.parent}.get(level, PACKAGES)
            dotted = name.removeprefix(f"{HOME}.").split(".")
            for count in range(1, len(dotted) + 1):
                file = home.joinpath(*dotted[:count]).with_suffix(".py")
                if (level or name.startswith(HOME)) and file.is_file() and file not in seen:
                    seen.add(file)
                    todo.append(file)
    assert {path for package in apply.PACKAGES for path in sources(package)} <= seen


@pytest.mark.parametrize("package", ["_efs_mount", "_webapp", "_bucket", "_proof"])
def test_a_comment_in_one_noun_changes_nothing_that_another_installs(package, tmp_path, monkeypatch):
    tree = tmp_path / "collections/ansible_collections/samefiles/aws"
    for part in ("plugins", "roles/webapp/files"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))

    def installed() -> tuple[str, str]:
        """The name of gallery's archive, and the text of all that s3_schedule writes, of this copy."""
        code = "import sys; sys.path[:0] = sys.argv[1:]\nfrom {}._s3_schedule import apply\nprint(apply.program())"
        shown = subprocess.run(
            [sys.executable, "-c", code.format(HOME), str(tmp_path / "collections")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        name = webapp_archive._name(str(tree / "roles/webapp/files"), [str(tree / "plugins/module_utils/_s3")])
        return name, shown.stdout

    def comment(name: str) -> None:
        for path in (tree / "plugins/module_utils" / name).glob("*.py"):
            path.write_text(path.read_text() + "# another comment\n")

    before = installed()
    comment(package)
    assert installed() == before
    comment("_s3")
    after = installed()
    assert after[0] != before[0]
    assert after[1] != before[1]
