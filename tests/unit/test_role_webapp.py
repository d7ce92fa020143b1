"""What the role webapp tells nginx is what gallery means."""

from __future__ import annotations

import pathlib
import re

import yaml
from gallery import keys, kinds, settings

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles/webapp"
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())


def test_nginx_finds_files_by_gallery_s_own_pattern():
    text = (ROLE / "templates/files.conf.j2").read_text().replace("{{ __webapp_digit }}", VARS["__webapp_digit"])
    found = re.search(r'location ~ "\^/files/\(\?<key>(.*)\)\$"', text).group(1)
    assert found.replace("(?<", "(?P<") == keys.PATTERN
    assert "alias {{ webapp_folder }}/$outer/$inner/$key;" in text


def test_nginx_shows_what_gallery_shows():
    assert VARS["__webapp_shown"] == kinds.IMAGES


def test_every_setting_of_the_role_is_one_of_gallery():
    known = {f"GALLERY_{name.upper()}" for name in settings.Settings.__dataclass_fields__}
    assert set(VARS["__webapp_gallery_environment"]) <= known
