"""What is in `deploy/`, judged by the tools of each field: no container engine is at hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from perdure.settings import Settings, load
from scripts.prepare import find_tool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KUBERNETES = "1.33"
EXPOSED_MAX = 20
"""In tenths, of systemd's own measure from 0 (hardened) to 100."""


def judged(*command: object, **more: Any) -> tuple[int, str]:
    """Return what a tool says of a file."""
    done = subprocess.run(
        [*map(str, command)], check=False, capture_output=True, text=True, cwd=ROOT, **more
    )
    return done.returncode, done.stdout + done.stderr


def tool(name: str) -> str:
    """Return a tool of the distribution; a machine without it fails loudly."""
    found = find_tool(name)
    assert found, f"there is no {name}: run `make setup`"
    return found


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def lint_image(path: Path) -> tuple[int, str]:
    return judged(BIN / "hadolint", "--no-color", path)


def lint_compose(path: Path) -> tuple[int, str]:
    return judged(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def lint_yaml(path: Path) -> tuple[int, str]:
    return judged(BIN / "yamllint", "--strict", "--config-file", ROOT / ".yamllint.yaml", path)


def lint_unit(folder: Path, text: str, name: str) -> tuple[int, str]:
    """Let systemd verify a unit whose program is at hand."""
    path = folder / name
    path.write_text(text.replace("/opt/perdure/bin/perdure", str(BIN / "perdure")))
    return judged(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", path)


# Each linter, and that it finds what it is for


def test_the_image_is_well_made():
    code, said = lint_image(DEPLOY / "Dockerfile")
    assert code == 0, said


def test_the_composition_is_valid():
    code, said = lint_compose(DEPLOY / "compose.yaml")
    assert code == 0, said


def test_every_yaml_file_is_tidy():
    code, said = lint_yaml(DEPLOY)
    assert code == 0, said


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_are_valid(path):
    for document in documents(path):
        if document["kind"] != "Kustomization":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_are_valid_and_hardened(tmp_path, path):
    name = path.name.replace("@", "@1")
    code, said = lint_unit(tmp_path, path.read_text(), name)
    assert (code, said) == (0, ""), said
    threshold = f"--threshold={EXPOSED_MAX}"
    unit = tmp_path / name
    code, said = judged(tool("systemd-analyze"), "security", "--offline=true", threshold, unit)
    assert code == 0, said


def test_the_linters_find_what_is_wrong(tmp_path):
    """Control: each of the above can fail."""
    image, other = tmp_path / "Dockerfile", tmp_path / "compose.yaml"
    image.write_text("FROM debian\nRUN cd /tmp && apt-get install nginx\n")
    assert lint_image(image)[0] != 0
    other.write_text("services: {api: {image: perdure, restarts: always}}\n")
    assert lint_compose(other)[0] != 0
    other.write_text("a:   1\na: 2\n")
    assert lint_yaml(other)[0] != 0
    unit = UNITS[0].read_text()
    assert lint_unit(tmp_path, unit.replace("Type=exec", "Typ=exec"), "a.service")[1]
    open_unit = tmp_path / "open.service"
    open_unit.write_text(f"[Service]\nExecStart={BIN / 'perdure'} serve\n")
    threshold = f"--threshold={EXPOSED_MAX}"
    command = (tool("systemd-analyze"), "security", "--offline=true", threshold, open_unit)
    assert judged(*command)[0] != 0
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"port": 1},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES, strict=True)


# What the files say of Perdure is so


def settings_in_configmap() -> str:
    (found,) = documents(DEPLOY / "kubernetes" / "settings.yaml")
    return str(found["data"]["perdure.toml"])


def of_text(folder: Path, text: str) -> Settings:
    (folder / "perdure.toml").write_text(text)
    return load(folder / "perdure.toml")


def test_the_settings_are_known(tmp_path):
    """An unknown key would stop every process."""
    plain = of_text(tmp_path, (DEPLOY / "perdure.toml").read_text())
    cluster = of_text(tmp_path, settings_in_configmap())
    assert cluster.auth.mode == "proxy"
    for settings in (plain, cluster):
        assert settings.limits.running_max <= 2 * settings.worker.running_max


def test_the_variables_are_known(monkeypatch):
    """And fit together, as `perdure serve` asks; compose puts in what `${…:?…}` stands for."""
    variables = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["x-perdure"]["environment"]
    for name, value in variables.items():
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]+\}", "secret", value))
    settings = load(DEPLOY / "perdure.toml", {"host": "0.0.0.0"})
    assert settings.has_workers
    assert settings.store_url.startswith("postgresql://")


def pods() -> dict[str, Any]:
    found = [one for path in MANIFESTS for one in documents(path)]
    return {one["metadata"]["name"]: one for one in found if one["kind"] == "Deployment"}


@pytest.mark.parametrize("name", ["perdure-api", "perdure-worker"])
def test_a_pod_has_time_to_drain(tmp_path, name):
    """preStop and the drain's grace, with 15 s for closing."""
    spec = pods()[name]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [0])
    grace_s = of_text(tmp_path, settings_in_configmap()).drain_grace_s
    assert spec["terminationGracePeriodSeconds"] >= int(hook[-1]) + grace_s + 15
    assert container["resources"]["limits"]["memory"]


def test_containers_and_units_have_time_to_drain(tmp_path):
    grace_s = of_text(tmp_path, (DEPLOY / "perdure.toml").read_text()).drain_grace_s
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["x-perdure"]
    assert int(composed["stop_grace_period"].rstrip("s")) >= grace_s + 15
    for unit in UNITS:
        told = re.search(r"TimeoutStopSec=(\d+)", unit.read_text())
        assert told
        assert int(told[1]) >= grace_s + 15


def test_selectors_find_the_pods():
    labels = [pod["spec"]["template"]["metadata"]["labels"] for pod in pods().values()]
    found = [one for path in MANIFESTS for one in documents(path)]
    for kind in ("Service", "PodDisruptionBudget"):
        for one in (one for one in found if one["kind"] == kind):
            wanted = one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
            assert [theirs for theirs in labels if wanted.items() <= theirs.items()]
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in found if "Autoscaler" in one["kind"]}
    assert scaled == pods().keys()


def test_what_the_image_copies_is_there():
    """From the folder that the build sees, by `.dockerignore`."""
    text = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    seen = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert source == "." or source.split("/")[0] in seen
    built = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "src", "docs", "scripts"}
    assert built | {"web"} <= seen
    assert "USER 10001" in text
    assert "root" not in text
