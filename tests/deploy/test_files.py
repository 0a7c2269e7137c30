"""The files of deploy/ against their formats and the promises that docs/deployment.md makes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compose_spec.compose_spec import PyCompose

from smotext_core.xrag import embedded_generator
from tests.deploy.conftest import DEPLOY, SECRETS, compose, instructions, read_yaml

DEPLOYMENT_PAGE = "docs/deployment.md"
DOCKERFILES = ["control-plane.Dockerfile", "gpu.Dockerfile"]
VERSION = re.compile(r":\d+(\.\d+)+")


def pinned(name: str) -> str:
    found = re.search(rf"(?m)^{name}==(\S+)$", (DEPLOY.parent / "constraints.txt").read_text())
    assert found, f"{name} is not in constraints.txt"
    return found[1]


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.yaml")), ids=lambda path: path.name)
def test_yaml_parses(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert len(documents) == 1 or path.name == "ray-cluster.yaml"
    assert all(isinstance(document, dict) for document in documents)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_passes_hadolint(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    found = subprocess.run([hadolint, DEPLOY / name], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_pins_its_base_and_constrains_its_packages(name: str) -> None:
    found = instructions(name)
    (base,) = [rest for word, rest in found if word == "FROM"]
    assert VERSION.search(base), base
    assert sys.version_info[:2] == tuple(map(int, re.findall(r"\d+", base)[:2]))
    installs = [rest for word, rest in found if word == "RUN" and "pip install" in rest]
    assert installs
    for line in installs:
        assert "--constraint" in line or "--no-deps" in line, line


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_ends_as_a_user_other_than_root_and_tells_its_health(name: str) -> None:
    found = instructions(name)
    users = [rest for word, rest in found if word == "USER"]
    # by number: Kubernetes cannot tell from a name that it is not root's
    assert users == ["10001"]
    last_run = max(i for i, (word, _) in enumerate(found) if word == "RUN")
    assert found.index(("USER", "10001")) > last_run
    assert dict(found)["HEALTHCHECK"].endswith("]")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_copies_only_what_its_ignore_file_lets_in(name: str) -> None:
    lines = (DEPLOY / f"{name}.dockerignore").read_text().split()
    assert lines[0] == "*"  # no .env, no store, no virtual environment in an image
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for word, rest in instructions(name)
        if word == "COPY"
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    for source in copied:
        assert (DEPLOY.parent / source).exists()


def test_control_plane_image_holds_neither_torch_nor_smotext() -> None:
    (install,) = [rest for word, rest in instructions(DOCKERFILES[0]) if word == "RUN"]
    packages = re.search(r"constraints\.txt\s+([a-z0-9 -]+?)\s*&&", install)
    assert packages
    names = packages[1].split()
    assert set(names) >= {"dagster-webserver", "dagster-postgres", "dagster-aws", "dagster-k8s"}
    assert all(name == "dagster" or name.startswith("dagster-") for name in names)
    for name in names:
        assert pinned(name)


def test_compose_file_follows_the_specification() -> None:
    spec = PyCompose.from_dict(compose())
    spec.validate()
    override = PyCompose.from_dict(read_yaml("compose.gpu.yaml"))
    assert override.service_names() == ["code-location"]


def test_compose_specification_check_finds_a_mistake() -> None:
    spec = compose()
    spec["services"]["s3"]["imagee"] = "x"
    with pytest.raises(ValueError, match="imagee"):
        PyCompose.from_dict(spec)


def test_compose_images_have_versions_and_no_secret_is_written_down() -> None:
    for name, service in compose()["services"].items():
        assert VERSION.search(service["image"]), name
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY|_USER$", variable) and value != "dagster":
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), (name, variable)


def test_compose_refuses_to_start_with_the_example_environment() -> None:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    assert example.keys() >= SECRETS.keys()
    assert {name for name, value in example.items() if not value} == SECRETS.keys()
    with pytest.raises(AssertionError, match="must be given"):
        compose(example)


def test_compose_publishes_the_proxy_alone() -> None:
    services = compose()["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert all(port.startswith("127.0.0.1:") for port in services["proxy"]["ports"])
    assert not any("network_mode" in service for service in services.values())
    inside = {name for name, service in services.items() if service["networks"] == ["store"]}
    assert inside == {"postgres", "s3", "bucket", "code-location", "daemon"}
    assert compose()["networks"]["store"] == {"internal": True}
    assert services["proxy"]["networks"] == ["web"]


def test_compose_has_exactly_one_daemon() -> None:
    daemons = {
        name: service
        for name, service in compose()["services"].items()
        if "dagster-daemon" in service.get("command", [])
    }
    assert list(daemons) == ["daemon"]
    assert daemons["daemon"]["container_name"]  # Compose cannot scale a service with a fixed name
    assert "deploy" not in daemons["daemon"]


def test_compose_code_location_keeps_its_name() -> None:
    """By it a new container knows the runs of the one before, which are dead."""
    service = compose()["services"]["code-location"]
    assert service["hostname"] == "code-location"
    assert "deploy" not in service


def test_compose_services_tell_their_health_and_restart() -> None:
    built = {"deploy/control-plane.Dockerfile", "deploy/gpu.Dockerfile"}
    for name, service in compose()["services"].items():
        of_image = service.get("build", {}).get("dockerfile") in built
        assert of_image or service["healthcheck"]["test"], name
        if name == "bucket":  # ends by itself, the others wait for that
            assert service["healthcheck"] == {"disable": True}
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped"


def test_compose_starts_in_an_order_of_conditions() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "completed_successfully" if other == "bucket" else "healthy"
            assert how == {"condition": f"service_{expected}"}, (name, other)
    for name in ("webserver", "daemon"):
        assert services[name]["depends_on"].keys() == {"postgres", "bucket", "code-location"}


def test_compose_mounts_files_that_exist() -> None:
    spec = compose()
    for service in spec["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source[0] == "." else source in spec["volumes"]


def test_policy_and_helm_values_name_the_bucket_of_the_compose_file() -> None:
    spec = compose()
    bucket = spec["services"]["code-location"]["environment"]["SMOTEXT_BUCKET"]
    store = spec["services"]["code-location"]["environment"]["SMOTEXT_STORE"]
    logs = read_yaml("dagster.yaml")["compute_logs"]["config"]["prefix"]
    policy = json.loads((DEPLOY / "iam-policy.json").read_text())
    resources = {statement["Resource"] for statement in policy["Statement"]}
    assert resources >= {
        f"arn:aws:s3:::{bucket}",
        f"arn:aws:s3:::{store.removeprefix('s3://')}/*",
        f"arn:aws:s3:::{bucket}/{logs}/*",
    }
    helm = read_yaml("helm-values.yaml")
    (code,) = helm["dagster-user-deployments"]["deployments"]
    assert {"name": "SMOTEXT_STORE", "value": store} in code["env"]
    chart_logs = helm["computeLogManager"]["config"]["s3ComputeLogManager"]
    assert (chart_logs["bucket"], chart_logs["prefix"]) == (bucket, logs)


def variables_read() -> set[str]:
    """SMOTEXT_* of the environment that the packages read."""
    root = DEPLOY.parent
    return {
        name
        for package in ("smotext_core", "smotext_assets")
        for path in (root / package).rglob("*.py")
        for name in re.findall(r"environ(?:\.get\(|\[)\s*\"(SMOTEXT_\w+)\"", path.read_text())
    }


def given_to_code_location() -> dict[str, set[str]]:
    """The variables that its image sets, and those that Compose and the chart give it."""
    image = {rest for word, rest in instructions("gpu.Dockerfile") if word == "ENV"}
    helm = read_yaml("helm-values.yaml")
    (code,) = helm["dagster-user-deployments"]["deployments"]
    run = helm["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["containerConfig"]
    gpu = read_yaml("compose.gpu.yaml")["services"]["code-location"]["environment"]
    return {
        "image": set(re.findall(r"(SMOTEXT_\w+)=", " ".join(image))),
        "compose": {*compose()["services"]["code-location"]["environment"], *gpu},
        "helm": {entry["name"] for entry in (*code["env"], *run["env"])},
    }


def test_every_variable_that_the_code_reads_is_documented_and_can_be_given() -> None:
    read, given = variables_read(), given_to_code_location()
    assert len(read) >= 10
    pages = {
        name: (DEPLOY.parent / name).read_text() for name in ("docs/options.md", DEPLOYMENT_PAGE)
    }
    for name in sorted(read):
        assert all(f"`{name}`" in page for page in pages.values()), name
        if name != "SMOTEXT_WAREHOUSE":  # lies in SMOTEXT_HOME, which is a volume
            for way in ("compose", "helm"):
                assert name in given[way] | given["image"], (name, way)


def test_every_variable_that_is_given_is_read() -> None:
    of_deploy = {"SMOTEXT_BUCKET", "SMOTEXT_CODE_HOST", "SMOTEXT_CODE_PORT"}  # dagster.yaml's
    for way, names in given_to_code_location().items():
        ours = {name for name in names if name.startswith("SMOTEXT_")}
        assert ours - of_deploy <= variables_read(), way
    example = (DEPLOY / ".env.example").read_text()
    compose_text = (DEPLOY / "compose.yaml").read_text()
    for name in re.findall(r"(?m)^#? ?(\w+)=", example):
        assert re.search(rf"\$\{{{name}[:}}]", compose_text), name


def test_example_environment_has_the_defaults_of_the_code() -> None:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    code = compose({**SECRETS, **{k: v for k, v in example.items() if v}})["services"]
    without = compose()["services"]
    assert code["code-location"]["environment"] == without["code-location"]["environment"]
    source = (DEPLOY.parent / "smotext_assets" / "definitions.py").read_text()
    for name, value in example.items():
        if name in variables_read():
            # the default generator is the one whose package is there, as in the image
            default = "embedded_generator()" if value == embedded_generator() else f'"{value}"'
            assert f'"{name}", {default})' in source, name
