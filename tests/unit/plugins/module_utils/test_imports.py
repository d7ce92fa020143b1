"""Who may import whom, and what reaches a host because of it."""

from __future__ import annotations

import ast
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping

import pytest
import yaml
from ansible.template import Templar, trust_as_template
from ansible_collections.samefiles.aws.plugins.action import webapp_archive
from ansible_collections.samefiles.aws.plugins.module_utils._s3_schedule import apply

from tests.support import ROOT

HOME = "ansible_collections.samefiles.aws.plugins.module_utils"
PACKAGES = ROOT / "plugins/module_utils"
GALLERY = ROOT / "roles/webapp/files/gallery"
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
# What no package imports: hosts have none of it, or a part of it is there under another name.
REFUSED = {"ansible", "lab", "plugins", "tests"}
# Reads the sources of the packages that it names; all others say in import statements what they import.
MAY_IMPORT_BY_NAME = PACKAGES / "_s3_schedule/apply.py"


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


def imports_by_name(text: str) -> bool:
    """Whether a module can import what no import statement of it says."""
    return any(name.partition(".")[0] == "importlib" for _level, name in imported(text)) or any(
        getattr(node, "attr", getattr(node, "id", "")) in ("import_module", "__import__")
        for node in ast.walk(ast.parse(text))
    )


def faults(package: str, text: str, by_name: bool = False) -> list[str]:
    """The imports of a module of a package that it may not have; by_name: it may import by name."""
    wrong = ["import by name"] if imports_by_name(text) and not by_name else []
    for level, name in imported(text):
        top = name.partition(".")[0]
        if level == 0 and top == "ansible_collections":
            other = name.removeprefix(f"{HOME}.").partition(".")[0] if name.startswith(f"{HOME}.") else name
            if package != "gallery" or other not in MAY[package]:
                wrong.append(name)
        elif level == 0:
            if top in REFUSED or (top == "gallery" and package != "gallery"):
                wrong.append(name)
        elif level > 2 or (level == 2 and top not in MAY[package]) or package == "gallery":
            wrong.append("." * level + name)
    return wrong


def sources(package: str) -> list[pathlib.Path]:
    directory = GALLERY if package == "gallery" else PACKAGES / package
    return sorted(directory.rglob("*.py"))


def test_every_package_has_its_rule():
    assert {path.name for path in PACKAGES.iterdir() if path.name != "__pycache__"} == set(MAY) - {"gallery"}


@pytest.mark.parametrize("package", MAY)
def test_a_package_imports_only_what_it_may(package):
    assert sources(package)
    wrong = {path.name: faults(package, path.read_text(), path == MAY_IMPORT_BY_NAME) for path in sources(package)}
    assert {name: imports for name, imports in wrong.items() if imports} == {}


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
        ("gallery", "from ansible_collections import samefiles"),
        ("gallery", "import lab.s3"),
        ("gallery", "from ansible.module_utils.basic import AnsibleModule"),
        ("gallery", "from tests.support import ROOT"),
        ("gallery", "from . import direct"),  # inside only absolute imports
        ("_host", "from tests.support import ROOT"),
        ("_efs_mount", "import plugins.module_utils._webapp.plan"),
        ("_host", 'importlib.import_module("._x", __package__)'),
        ("_host", f'importlib.import_module("{HOME}._x")'),
        ("_host", 'import_module("._x", __package__)'),
        ("_host", "from importlib import import_module as load"),
        ("_host", "import importlib.util"),
        ("_host", '__import__("gallery")'),
    ],
)
def test_a_forbidden_import_is_seen(package, line):
    assert faults(package, line)


def reached(start: set[str], edges: Mapping[str, set[str]]) -> set[str]:
    """All that some names import, directly or not; they themselves only if they are in a circle."""
    seen: set[str] = set()
    todo = list(start)
    while todo:
        new = edges[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def test_a_circle_is_reached_and_left():
    assert reached({"a"}, {"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {"b", "c"}
    assert reached({"b"}, {"b": {"c"}, "c": {"b"}}) == {"b", "c"}


@pytest.mark.parametrize("package", MAY)
def test_no_package_is_imported_by_what_it_imports(package):
    assert package not in reached({package}, MAY), f"what {package} may import may import {package}"


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
    home = GALLERY if package == "gallery" else PACKAGES / package
    names = {".".join(path.relative_to(home).with_suffix("").parts): path for path in sources(package)}
    loads = {name: of_file(path, package) & set(names) for name, path in names.items()}
    assert len(names) == 1 or any(loads.values())
    while loads:
        free = [name for name, others in loads.items() if not others & set(loads)]
        assert free, f"a circle among {sorted(loads)}"
        loads = {name: others for name, others in loads.items() if name not in free}


# Inside gallery: browsers and S3 without a server between them know the storage, which knows the bucket. That holds by
# way of the modules beside them too, and for what a function imports when it is called.
GALLERY_MAY = {"s3": set(), "storage": {"s3"}, "direct": {"storage", "s3"}}
GALLERY_FILES = {".".join(path.relative_to(GALLERY).with_suffix("").parts): path for path in sources("gallery")}


def of_gallery(text: str) -> set[str]:
    """The files of gallery that a text imports anywhere, by their dotted names, with the packages that they lie in."""
    files = set()
    for _level, name in imported(text):
        split = name.split(".")
        if split[0] == "gallery":
            starts = [".".join(split[1:count]) for count in range(1, len(split) + 1)]
            files |= {*starts, *(f"{start}.__init__".lstrip(".") for start in starts)} & set(GALLERY_FILES)
    return files


@pytest.mark.parametrize(
    "text",
    [
        "from gallery.direct.redirects import Direct",
        "from gallery.direct import redirects",
        "import gallery.direct.redirects",
        "def later():\n    from gallery.direct.redirects import Direct",
        "if TYPE_CHECKING:\n    from gallery.direct.redirects import Direct",
    ],
)
def test_an_import_within_gallery_is_seen(text):
    assert of_gallery(text) == {"__init__", "direct.__init__", "direct.redirects"}


@pytest.mark.parametrize("package", GALLERY_MAY)
def test_no_two_packages_of_gallery_import_each_other(package):
    assert {path.parent.name for path in GALLERY.glob("*/__init__.py")} == set(GALLERY_MAY)
    edges = {name: of_gallery(path.read_text()) for name, path in GALLERY_FILES.items()}
    files = reached({name for name in edges if name.startswith(f"{package}.")}, edges)
    wrong = {name for name in files if name.partition(".")[0] in set(GALLERY_MAY) - {package} - GALLERY_MAY[package]}
    assert not wrong, f"{package} imports {sorted(wrong)}, directly or by way of others"


def test_no_file_of_gallery_imports_at_any_time_what_imports_it():
    edges = {name: of_gallery(path.read_text()) for name, path in GALLERY_FILES.items()}
    assert [name for name in edges if name in reached({name}, edges)] == []


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


def builder_reads(role: pathlib.Path) -> list[str]:
    """What a role webapp names the archive of gallery by, apart from its own files."""
    expression = yaml.safe_load((ROOT / "roles/webapp/vars/main.yml").read_text())["__webapp_builder_reads"]
    known = {"role_path": str(role), "__webapp_gallery": True}
    return Templar(loader=None, variables=known).template(trust_as_template(expression))


def test_the_archive_holds_of_the_collection_what_it_is_named_by(tmp_path):
    spec = importlib.util.spec_from_file_location("build_gallery", ROOT / "roles/webapp/files/build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    build.add_library(str(tmp_path))

    def files(home: pathlib.Path, directories: list[pathlib.Path]) -> dict[str, bytes]:
        """The files of directories, by their names within home; without the empty ones, which make packages."""
        paths = [path for directory in directories for path in directory.rglob("*") if path.is_file()]
        texts = {os.path.relpath(path, home): path.read_bytes() for path in paths if "__pycache__" not in path.parts}
        return {name: text for name, text in texts.items() if text}

    read = files(ROOT, [pathlib.Path(os.path.realpath(path)) for path in builder_reads(ROOT / "roles/webapp")])
    aws = tmp_path / "ansible_collections/samefiles/aws"
    assert files(aws, [tmp_path]) == read
    assert read


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
        name = webapp_archive._name(str(tree / "roles/webapp/files"), builder_reads(tree / "roles/webapp"))
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
