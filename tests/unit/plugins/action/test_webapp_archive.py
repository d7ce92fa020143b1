"""When the action webapp_archive packs or builds anew."""

from __future__ import annotations

from ansible_collections.samefiles.aws.plugins.action import webapp_archive


def test_what_a_builder_reads_beside_the_source_makes_another_archive(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main").write_text("app")
    (tmp_path / "engine").write_text("one")
    builder = tmp_path / "build.py"
    builder.write_text(
        "import sys; open(sys.argv[1], 'w').write(open(sys.argv[0].replace('build.py', 'engine')).read())"
    )
    given = (str(tmp_path / "app"), str(builder), [str(tmp_path / "engine")], str(tmp_path / "cache"))
    first = webapp_archive._archive_of(*given)
    assert webapp_archive._archive_of(*given) == first
    (tmp_path / "engine").write_text("two")
    with open(webapp_archive._archive_of(*given)) as made:
        assert made.read() == "two"
