"""The role webapp configures nginx as gallery expects it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.samefiles.aws.plugins.filter import gallery_fault
from gallery import app, keys, media_types, responses, settings, uploads
from gallery.direct import upload_tickets
from gallery.storage import base

from tests.support import ROOT

ROLE = ROOT / "roles/webapp"
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())


def test_nginx_finds_files_by_gallery_s_own_pattern():
    text = (ROLE / "templates/files.conf.j2").read_text().replace("{{ __webapp_digit }}", VARS["__webapp_digit"])
    location = re.search(r'location ~ "\^/files/\(\?<key>(.*)\)\$"', text).group(1)
    assert location.replace("(?<", "(?P<") == keys.PATTERN
    assert "alias {{ webapp_directory }}/$outer/$inner/$key;" in text


def test_nginx_shows_what_gallery_shows():
    assert VARS["__webapp_shown"] == media_types.IMAGES


def test_nginx_sends_the_headers_that_gallery_sends():
    text = (ROLE / "templates/files.conf.j2").read_text()
    block = text[text.index('location ~ "^/files/') :]
    block = block[: block.index("error_page")]
    added = re.findall(r'add_header (\S+) (?:"([^"]*)"|([^$" ;]+))(?: always)?;', block)
    sent = {name: quoted or bare for name, quoted, bare in added}
    entry = base.Entry("0" * 27 + "-a.txt", 1, 0.0)
    headers = responses._headers(entry)
    # nginx makes these from the file itself
    own = {"Content-Type", "ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition"}
    assert set(headers) >= own
    assert {"X-Content-Type-Options": "nosniff", **{name: headers[name] for name in set(headers) - own}} == sent


def test_every_setting_of_the_role_is_one_of_gallery():
    known = {f"GALLERY_{name.upper()}" for name in settings.Settings.__dataclass_fields__}
    assert set(VARS["__webapp_gallery_environment"]) <= known


def test_the_readme_states_the_limits_that_gallery_has():
    said = re.search(
        r"\*\*What public uploads can cost\.\*\*(.*?)\n\n\*\*", (ROLE / "README.md").read_text(), re.DOTALL
    ).group(1)
    said = " ".join(said.split())
    assert f"{upload_tickets._PER_CLIENT:,} tickets" in said
    assert f"{upload_tickets._TOGETHER} confirmations at a time" in said
    assert f"{app._UPLOADS} at a time on a server, {app._PER_CLIENT} of one client" in said
    assert f"{uploads._ROOMS} buffers of 5 MiB" in said
    assert f"every {app._TIDY // 60} minutes" in said


def rendered(expression: str, **settings):
    """The value of an expression for a host with these settings, as Ansible reads the role's variables."""
    loader = DataLoader()
    variables = {"role_path": str(ROLE), "inventory_hostname": "web-01"}
    for name in ("defaults", "vars"):
        variables.update(loader.load_from_file(str(ROLE / name / "main.yml"), trusted_as_template=True))
    return Templar(loader=loader, variables={**variables, **settings}).template(trust_as_template(expression))


S3 = {"webapp_storage": "s3", "webapp_bucket": "example-site", "webapp_region": "eu-central-1"}
WAYS = {
    "HTTPS_PROXY": "http://proxy.example:3128",
    "NO_PROXY": "169.254.169.254",
    "AWS_USE_FIPS_ENDPOINT": True,
    "AWS_USE_DUALSTACK_ENDPOINT": True,
}


def test_gallery_learns_from_the_environment_how_s3_is_reached():
    expression = "{{ __webapp_environment }}"
    assert rendered(expression, **S3, webapp_environment=WAYS) == {**rendered(expression, **S3), **WAYS}
    # with its files on EFS it connects to nothing
    assert not set(rendered(expression, webapp_environment=WAYS)) & set(WAYS)
    own = {"webapp_source": "/home/me/shop", "webapp_environment": {"UPLOADS": "/srv/files"}}
    assert rendered(expression, **own) == own["webapp_environment"]


def refusal(**settings) -> str:
    """The sentence with which tasks/check.yml refuses settings; "" where gallery would start with them."""
    added = settings.get("webapp_environment", {}) if settings.get("webapp_storage") == "s3" else {}
    return gallery_fault.fault(rendered("{{ __webapp_environment }}", **settings), "web-01", added)


def test_a_host_is_refused_by_the_filter(tmp_path):
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "vars": {**S3, "webapp_bucket": "No_Bucket", "webapp_upload_password": "open sesame 42"},
            "tasks": [{"ansible.builtin.include_role": {"name": "samefiles.aws.webapp", "tasks_from": "check"}}],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    argv = ["ansible-playbook", "--check", "-i", "web-09,", "-c", "local", str(tmp_path / "play.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 2
    assert "webapp_bucket of web-09 is No_Bucket: write the name of a bucket" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("given", "names"),
    [({}, ""), (WAYS, ""), ({**WAYS, "HTTP_PROXY": "x", "GALLERY_TITLE": "y"}, "GALLERY_TITLE, HTTP_PROXY")],
)
def test_gallery_takes_no_other_environment(given, names):
    said = refusal(**S3, webapp_environment=given)
    assert said.startswith(f"webapp_environment of web-01 has {names}: ") if names else said == ""
    assert refusal(webapp_environment=given) == ""


SECONDS = "set 1 to 43200 seconds."
WORDS = "write words of letters, digits, _, . and -, none with a . in front, joined by /, such as gallery."
HOST = "write http:// or https:// and a host, with a port if it needs one, and nothing after it."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ""),
        ({"webapp_bucket": ""}, "webapp_bucket of web-01 is empty: storage s3 needs the name of a bucket."),
        ({"webapp_max_upload_mib": 5121}, "webapp_max_upload_mib of web-01 is 5121: S3 takes at most 5 GiB (5120 MiB) in one request."),
        ({"webapp_cleanup_after": 900}, "webapp_cleanup_after of web-01 is 900: an upload that began just within webapp_upload_url_ttl may last an hour"),
        ({"webapp_public_access_confirmed": True}, "is true: webapp_public_prefix is empty: name the prefix of the"),
        ({"webapp_public_prefix": "gallery/public"}, "webapp_key_prefix is gallery, and neither may lie in the other: choose another prefix."),
        ({"webapp_download_url_ttl": 2}, ""),
        ({"webapp_download_url_ttl": 604800}, ""),
        ({"webapp_download_url_ttl": 1}, "webapp_download_url_ttl of web-01 is 1: S3 takes presigned URLs of 2 seconds to 7 days"),
        ({"webapp_download_url_ttl": 1_000_000}, "webapp_download_url_ttl of web-01 is 1000000: S3 takes presigned URLs of 2 seconds to 7 days"),
        ({"webapp_download_url_ttl": "604801"}, ", set 2 to 604800 seconds."),
        ({"webapp_upload_url_ttl": 1}, ""),
        ({"webapp_upload_url_ttl": 43200}, ""),
        ({"webapp_upload_url_ttl": 0}, "webapp_upload_url_ttl of web-01 is 0: a number of seconds greater than 0 is needed."),
        ({"webapp_upload_url_ttl": 43201}, SECONDS),
        ({"webapp_upload_url_ttl": 43201, "webapp_cleanup_after": 900_000}, SECONDS),
        ({"webapp_key_prefix": "sites/one/"}, ""),
        ({"webapp_key_prefix": ""}, f"webapp_key_prefix of web-01 is empty: {WORDS}"),
        ({"webapp_key_prefix": "my site"}, f"webapp_key_prefix of web-01 is my site: {WORDS}"),
        ({"webapp_key_prefix": "/gallery"}, f"webapp_key_prefix of web-01 is /gallery: {WORDS}"),
        ({"webapp_key_prefix": ".site"}, f"webapp_key_prefix of web-01 is .site: {WORDS}"),
        ({"webapp_key_prefix": "a//b"}, WORDS),
        ({"webapp_key_prefix": "a/../b"}, WORDS),
        ({"webapp_public_prefix": "public"}, ""),
        ({"webapp_public_prefix": "öffentlich"}, "webapp_public_prefix of web-01 is öffentlich: write words of letters"),
        ({"webapp_public_prefix": "/"}, "webapp_public_prefix of web-01 is /: write words of letters"),
        ({"webapp_public_prefix": "public*"}, "such as public."),
        ({"webapp_bucket": "My_Bucket"}, "webapp_bucket of web-01 is My_Bucket: write the name of a bucket, 3 to 63 of a-z"),
        ({"webapp_bucket": "a..b"}, "webapp_bucket of web-01 is a..b: write the name of a bucket"),
        ({"webapp_bucket": "192.0.2.1"}, "webapp_bucket of web-01 is 192.0.2.1: write the name of a bucket"),
        ({"webapp_bucket": "123"}, ""),
        ({"webapp_ca_bundle": "/etc/ssl/ca.pem"}, ""),
        ({"webapp_ca_bundle": "files/ca.pem"}, "webapp_ca_bundle of web-01 is files/ca.pem: an absolute path is needed."),
        ({"webapp_endpoint_url": "https://s3.example.com:8443/"}, ""),
        ({"webapp_endpoint_url": "https://[2001:db8::1]:65535"}, ""),
        ({"webapp_endpoint_url": "https://s3.example.com:port"}, HOST),
        ({"webapp_endpoint_url": "https://s3.example.com:65536"}, HOST),
        ({"webapp_endpoint_url": "https://:9000"}, HOST),
        ({"webapp_endpoint_url": "https://[::1"}, HOST),
        ({"webapp_endpoint_url": "s3.example.com"}, f"webapp_endpoint_url of web-01 is s3.example.com: {HOST}"),
        ({"webapp_endpoint_url": "https://s3.example.com/x"}, f"webapp_endpoint_url of web-01 is https://s3.example.com/x: {HOST}"),
        ({"webapp_endpoint_url": "ftp://s3.example.com"}, HOST),
        ({"webapp_browser_endpoint_url": "http://localhost"}, ""),
        ({"webapp_browser_endpoint_url": "//s3.example.com"}, "webapp_browser_endpoint_url of web-01 is //s3.example.com: "),
        ({"webapp_endpoint_url": "https://s3.example.com:0"}, HOST),
        ({"webapp_endpoint_url": "https://me:geh/eim@s3.example.com"}, "web-01 is https://s3.example.com: write"),
        ({"webapp_environment": {"HTTPS_PROXY": "http://me:word@[2001:db8::1]:3128/"}}, ""),
        ({"webapp_environment": {"HTTPS_PROXY": "proxy:3128"}}, ""),
        ({"webapp_environment": {"HTTPS_PROXY": "https://proxy:3128"}}, "HTTPS_PROXY of web-01 is https://proxy:3128: write http://"),
        ({"webapp_environment": {"HTTPS_PROXY": "me:geheim@proxy:x"}}, "HTTPS_PROXY of web-01 is proxy:x: write http://"),
        ({"webapp_environment": {"HTTPS_PROXY": "http://me:geh@eim@proxy:99999"}}, "HTTPS_PROXY of web-01 is http://proxy:99999: write"),
        ({"webapp_browser_endpoint_url": "https://me:geheim@s3.example.com"}, "web-01 is https://s3.example.com: write"),
        ({"webapp_endpoint_url": "https://me:geheim@s3.example.com"}, "web-01 is https://s3.example.com: write"),
        ({"webapp_browser_endpoint_url": "https://s3.example.com?x=1"}, HOST),
    ],
)  # fmt: skip
def test_the_role_refuses_what_gallery_would_not_start_with(given, said):
    """So that --check reports it, and not a release that does not start."""
    sentence = refusal(**{**S3, **given})
    assert (said in sentence) is True
    assert (sentence != "") is (said != "")
    assert refusal(**{**given, "webapp_storage": "efs"}) == ""
    environment = rendered("{{ __webapp_environment }}", **{**S3, **given})
    try:
        settings.from_environment({name: str(value) for name, value in environment.items()})
    except settings.BadSetting as fault:
        assert sentence, fault
        assert "eim" not in str(fault)
    else:
        assert sentence == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ""),
        ({"webapp_directory": "/srv/other"}, "webapp_directory of web-01 is /srv/other: it must lie below webapp_mount, which is /srv/files."),
        ({"webapp_mount": ""}, ""),
        ({"webapp_mount": "files"}, "webapp_mount of web-01 is files: an absolute path is needed."),
        ({"webapp_storage": "disk"}, "webapp_storage of web-01 is disk: the storages are efs and s3."),
        ({"webapp_max_upload_mib": 0}, "webapp_max_upload_mib of web-01 is 0: at least 1 is needed."),
        ({"webapp_allowed_extensions": [".png"]}, "webapp_allowed_extensions of web-01 is .png: extensions of at most 8"),
        ({"webapp_storage_timeout": "soon"}, "webapp_storage_timeout of web-01 is soon: a number of seconds"),
    ],
)  # fmt: skip
def test_settings_for_files_on_efs_are_refused_as_well(given, said):
    sentence = refusal(**given)
    assert sentence.startswith(said)
    assert (sentence == "") is (said == "")


def test_the_sentence_names_variables_that_the_role_has():
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    given = {name for of in ("gallery", "efs", "s3") for name in VARS[f"__webapp_{of}_environment"]} - {
        "GALLERY_NAME",
        "GALLERY_STATUS",
    }
    assert {gallery_fault.variable(name) for name in given} <= set(options)


def test_the_ranges_are_documented():
    readme, specs = (ROLE / "README.md").read_text(), (ROLE / "meta/argument_specs.yml").read_text()
    for least, most in ((1, 43200), (2, 604800)):
        assert f"{least} to {most}" in readme
        assert f"{least} to {most}" in specs
