"""What the project is made of: every version is pinned, every licence is known, no secret lies in the repository."""

import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINS = {
    canonicalize_name(name): pinned.strip()
    for name, _, pinned in (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    if pinned
}
FREE = re.compile(r"MIT|BSD|Apache|Python Software Foundation|PSF|ISC|MPL|Mozilla Public|Artistic|HPND|Unlicense|Zlib")
# A word's start is looked for behind its first letters: a pattern that begins with letters is found ten times as fast.
SECRETS = {
    "an AWS access key": r"A(?<=\bA)(KIA|SIA)[0-9A-Z]{16}\b",
    "an AWS secret key": r"(?i)aws_?secret_?access_?key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a GitHub token": r"g(?<=\bg)(h[pousr]_[A-Za-z0-9]{36}|ithub_pat_[A-Za-z0-9_]{40,})",
    "a GitLab token": r"glpat-(?<=\bglpat-)[A-Za-z0-9_-]{20}",
    "a Slack token": r"xox(?<=\bxox)[abprs]-[A-Za-z0-9-]{10,}",
    "a package index token": r"pypi-AgE(?<=\bpypi-AgE)[A-Za-z0-9_-]{20,}",
    "a Prefect key": r"pn(?<=\bpn)[ub]_[A-Za-z0-9]{30,}",
    "an API key": r"sk-(?<=\bsk-)[A-Za-z0-9_-]{32,}",
    "a Google key": r"AIza(?<=\bAIza)[A-Za-z0-9_-]{35}",
    "a signed token": r"eyJ(?<=\beyJ)[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.",
    "a password in an address": r"://(?<=[a-z]://)[^/\s:@'\"{}<>]+:(?!canary|pass@|PASSWORD@|\*)[^/\s:@'\"{}<>]+@[a-z0-9.-]+",
}


PYTHONS = ("3.11", "3.12", "3.13")  # those of requires-python; a library may be needed on some of them only


def is_wanted(requirement, extras):
    environments = [{"extra": extra, "python_version": python} for extra in extras | {""} for python in PYTHONS]
    return requirement.marker is None or any(map(requirement.marker.evaluate, environments))


def closure():
    """Every distribution that the project and all its extras come to, on any Python that it supports."""
    extras = frozenset(distribution("cosmic-flows").metadata.get_all("Provides-Extra"))
    found, todo = set(), [("cosmic-flows", extras)]
    while todo:
        name, extras = todo.pop()
        try:
            requirements = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:  # of another Python than this one
            continue
        for requirement in requirements:
            key = canonicalize_name(requirement.name), frozenset(requirement.extras)
            if is_wanted(requirement, extras) and key not in found:
                found.add(key)
                todo.append(key)
    return sorted({name for name, _ in found})


def is_installed(name):
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


CLOSURE = closure()


def test_pins_are_exactly_the_closure_of_the_dependencies():
    assert set(CLOSURE) == set(PINS)


def test_installed_versions_are_the_pinned_ones():
    wrong = {
        name: version(name)
        for name in filter(is_installed, PINS)
        if version(name).partition("+")[0] != PINS[name].partition("+")[0]
    }
    assert wrong == {}


def licence(name):
    metadata = distribution(name).metadata
    classified = [each for each in metadata.get_all("Classifier") or () if each.startswith("License")]
    return metadata.get("License-Expression") or "; ".join(classified) or metadata.get("License") or ""


@pytest.mark.parametrize("name", list(filter(is_installed, CLOSURE)))
def test_library_has_a_permissive_licence(name):
    assert FREE.search(licence(name)), licence(name)[:200]


@pytest.fixture(scope="module")
def tracked():
    listed = subprocess.run(["/usr/bin/env", "git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this copy of the project is no git repository")
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return {path: path.read_bytes().decode("latin-1") for path in paths if path.is_file()}


@pytest.mark.parametrize("what", SECRETS)
def test_no_tracked_file_holds_a_secret(tracked, what):
    wanted = re.compile(SECRETS[what])
    found = [
        f"{path.relative_to(ROOT)}: {match[0][:12]}..."
        for path, text in tracked.items()
        if path != Path(__file__)
        for match in wanted.finditer(text)
    ]
    assert found == []


def test_secret_patterns_find_their_samples():
    samples = (
        *("AKIA" + "A1B2" * 4, "AWS_SECRET_ACCESS_KEY=" + "aB3/" * 10, "-----BEGIN RSA " + "PRIVATE KEY-----"),
        *("ghp_" + "a1B2" * 9, "glpat-" + "a1B2" * 5, "xoxb-" + "1234567890", "pypi-AgE" + "a1B2" * 6),
        *(
            "pnu_" + "a1B2" * 9,
            "sk-" + "a1B2" * 9,
            "AIza" + "a1B2" * 8 + "abc",
            "eyJ" + "a1B2" * 5 + ".eyJ" + "a1B2" * 5 + ".x",
        ),
        "https://me:word" + "@example.org/x",
    )
    for sample, pattern in zip(samples, SECRETS.values(), strict=True):
        assert re.search(pattern, sample), sample
