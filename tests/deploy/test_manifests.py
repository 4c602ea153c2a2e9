"""What deploy/ holds fits the schemas of Kubernetes and Compose, fits together, and fits Serupa."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serupa import Catalog
from serupa.storage.qdrant.address import parse_address
from serupa.web.app import create_app
from serupa.web.settings import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
VERSION = "1.31"


def documents() -> Iterator[Any]:
    for file in MANIFESTS:
        if file.name != "kustomization.yaml":
            for number, document in enumerate(yaml.safe_load_all(file.read_text())):
                yield pytest.param(document, id=f"{file.stem}-{number}-{document['kind']}")


ALL = [parameter.values[0] for parameter in documents()]


def of_kind(kind: str) -> dict[str, Any]:
    return {one["metadata"].get("name", "index"): one for one in ALL if one["kind"] == kind}


@pytest.mark.parametrize("document", list(documents()))
def test_kubernetes_takes_it(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_the_check_would_notice() -> None:
    broken = {**of_kind("Deployment")["serupa"], "spec": {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


def test_compose_takes_it(tmp_path: Path) -> None:
    def check(file: Path) -> int:
        command = [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(file),
        ]
        return subprocess.run(command, check=False, capture_output=True).returncode

    assert check(DEPLOY / "compose.yaml") == 0
    broken = tmp_path / "compose.yaml"
    broken.write_text((DEPLOY / "compose.yaml").read_text().replace("restart:", "restarts:"))
    assert check(broken) != 0


def test_kustomization_names_the_files() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    named = set(kustomization["resources"])
    assert named == {file.name for file in MANIFESTS} - {"kustomization.yaml", "index.yaml"}


def pods() -> dict[str, dict[str, Any]]:
    return {
        f"{kind} {name}": one["spec"]["template"]
        for kind in ("Deployment", "StatefulSet", "Job")
        for name, one in of_kind(kind).items()
    }


def labels(template: dict[str, Any]) -> set[tuple[str, str]]:
    return set(template["metadata"]["labels"].items())


def test_selectors_find_what_they_are_for() -> None:
    for kind in ("Service", "PodDisruptionBudget"):
        for name, one in of_kind(kind).items():
            selector = one["spec"]["selector"]
            wanted = set(selector.get("matchLabels", selector).items())
            found = [pod for pod, template in pods().items() if wanted <= labels(template)]
            assert len(found) == 1, (kind, name, found)
            ports = {p["name"] for p in pods()[found[0]]["spec"]["containers"][0]["ports"]}
            assert {p["targetPort"] for p in one["spec"].get("ports", ())} <= ports
    for name in ("Deployment", "StatefulSet"):
        for one in of_kind(name).values():
            assert set(one["spec"]["selector"]["matchLabels"].items()) <= labels(one["spec"]["template"])
    scaled = of_kind("HorizontalPodAutoscaler")["serupa"]["spec"]["scaleTargetRef"]
    assert of_kind(scaled["kind"])[scaled["name"]]
    stateful = of_kind("StatefulSet")["qdrant"]["spec"]
    assert of_kind("Service")[stateful["serviceName"]]["spec"]["clusterIP"] == "None"
    assert stateful["replicas"] == 3 and stateful["podManagementPolicy"] == "Parallel"
    apart = stateful["template"]["spec"]["affinity"]["podAntiAffinity"]
    (rule,) = apart["requiredDuringSchedulingIgnoredDuringExecution"]
    assert set(rule["labelSelector"]["matchLabels"].items()) <= labels(stateful["template"])
    assert set(of_kind("PodDisruptionBudget")) == {"qdrant", "serupa"}
    allowed = {
        next(iter(peer["podSelector"]["matchLabels"].items()))
        for rule in of_kind("NetworkPolicy")["qdrant"]["spec"]["ingress"]
        for peer in rule["from"]
    }
    assert all(labels(template) & allowed for template in pods().values())


def test_pods_are_restricted() -> None:
    """As the namespace's own rule wants it."""
    for name, template in pods().items():
        spec, container = template["spec"], template["spec"]["containers"][0]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"], name
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        there = {volume["name"] for volume in spec["volumes"]}
        if name == "StatefulSet qdrant":
            there |= {"points"}
        assert mounted == there
        keys = [e["value"] for e in container["env"] if "KEY" in e["name"] and "value" in e]
        assert keys == [], "keys come from the Secret"


def commands() -> dict[str, list[str]]:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    found = {name: compose[name]["command"] for name in ("index", "api")}
    for name in ("Deployment serupa", "Job index"):
        found[name] = pods()[name]["spec"]["containers"][0]["args"]
    return found


@pytest.mark.parametrize("name", ["index", "api", "Deployment serupa", "Job index"])
def test_serupa_takes_the_commands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from serupa.cli.commands import app

    nodes = of_kind("ConfigMap")["qdrant"]["data"]["nodes"]
    monkeypatch.setenv("SERUPA_QDRANT_URL", nodes)
    command, *arguments = commands()[name]
    parsed = typer.main.get_command(app).commands[command].make_context(command, list(arguments))  # type: ignore[attr-defined]
    address = parse_address(parsed.params["catalog"])
    assert address.name == "shop"
    assert {node.port for node in address.nodes} == {6333}
    pods = [f"qdrant-{number}.qdrant-nodes" for number in range(3)]
    assert [node.host for node in address.nodes] in (["qdrant"], pods)  # Compose, and Kubernetes


def test_probes_and_limits_are_serupas(catalog: Catalog, tmp_path: Path) -> None:
    paths = create_app(catalog).openapi()["paths"]
    container = pods()["Deployment serupa"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
    for probe in ("startupProbe", "livenessProbe"):  # what restarts it never asks the store
        assert container[probe]["httpGet"]["path"] == "/healthz"
    written = of_kind("ConfigMap")["serupa"]["data"]["serve.toml"]
    (tmp_path / "serve.toml").write_text(written)
    settings = load_settings(tmp_path / "serve.toml", environment={})
    assert settings.time_limit_s < pods()["Deployment serupa"]["spec"]["terminationGracePeriodSeconds"]
    assert tomllib.loads(written)["queue"] == settings.queue
