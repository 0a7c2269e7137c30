"""The Ray cluster beside the chart: its pods as Kubernetes reads them, its options as Ray has them.

KubeRay's definition of a cluster is not at hand: its keys are written down here, from its schema.
"""

import re
from typing import Any

import pytest
import yaml
from dagster_k8s import K8sRunLauncher
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from kubernetes.client import V1NetworkPolicy, V1PodTemplateSpec, V1ServiceAccount

from tests.deploy.conftest import DEPLOY, read_yaml
from tests.deploy.test_helm import environment, launcher, pod, tags, value_at

__all__ = ["launcher"]

SPEC = "rayVersion headGroupSpec workerGroupSpecs enableInTreeAutoscaling autoscalerOptions suspend"
HEAD = "serviceType headService enableIngress rayStartParams template"
GROUP = (
    "groupName replicas minReplicas maxReplicas numOfHosts idleTimeoutSeconds suspend "
    "scaleStrategy rayStartParams template"
)


def documents() -> dict[str, Any]:
    """By kind."""
    text = (DEPLOY / "ray-cluster.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def groups() -> dict[str, Any]:
    """Head and workers."""
    spec = documents()["RayCluster"]["spec"]
    (workers,) = spec["workerGroupSpecs"]
    return {"head": spec["headGroupSpec"], "workers": workers}


def container(group: str) -> dict[str, Any]:
    (found,) = groups()[group]["template"]["spec"]["containers"]
    return dict(found)


def test_cluster_has_the_keys_of_kuberay_and_the_ray_of_the_constraints() -> None:
    found = documents()
    assert set(found) == {"ServiceAccount", "NetworkPolicy", "RayCluster"}
    cluster = found["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    assert set(cluster["spec"]) <= set(SPEC.split())
    assert set(groups()["head"]) <= set(HEAD.split())
    assert set(groups()["workers"]) <= set(GROUP.split())
    constraints = (DEPLOY.parent / "constraints.txt").read_text()
    assert f"\nray=={cluster['spec']['rayVersion']}\n" in constraints


@pytest.mark.parametrize("group", ["head", "workers"])
def test_pods_are_kubernetes_and_their_image_account_and_region_the_charts(group: str) -> None:
    template = groups()[group]["template"]
    as_python = k8s_snake_case_dict(V1PodTemplateSpec, template)  # refuses what is no pod's
    spec = k8s_model_from_dict(V1PodTemplateSpec, as_python).spec
    assert spec.service_account_name == documents()["ServiceAccount"]["metadata"]["name"]
    code = value_at("dagster-user-deployments.deployments.0")
    (found,) = spec.containers
    assert found.image == f"{code['image']['repository']}:{code['image']['tag']}"
    assert spec.security_context.fs_group == code["podSecurityContext"]["fsGroup"]
    assert spec.security_context.run_as_non_root
    given = {entry["name"]: entry["value"] for entry in code["env"]}
    assert {entry.name: entry.value for entry in found.env}.items() <= given.items()
    assert found.readiness_probe
    assert found.liveness_probe


def test_other_documents_are_kubernetes_and_the_role_is_the_charts() -> None:
    found = documents()
    account = k8s_snake_case_dict(V1ServiceAccount, found["ServiceAccount"])
    role = value_at("dagster-user-deployments.serviceAccount.annotations")
    assert account["metadata"]["annotations"] == role
    policy = k8s_snake_case_dict(V1NetworkPolicy, found["NetworkPolicy"])
    chosen = policy["spec"]["pod_selector"]["match_labels"]
    assert chosen == {"ray.io/cluster": found["RayCluster"]["metadata"]["name"]}
    # pods of this namespace and nobody else
    assert found["NetworkPolicy"]["spec"]["ingress"] == [{"from": [{"podSelector": {}}]}]


@pytest.mark.parametrize("group", ["head", "workers"])
def test_start_parameters_are_options_of_ray_start(group: str) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    known = {option.removeprefix("--") for p in scripts.start.params for option in p.opts}
    assert set(groups()[group]["rayStartParams"]) <= known


def test_probes_ask_what_the_image_has() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    command = container("head")["readinessProbe"]["exec"]["command"]
    assert command[0] == "ray"
    options = {option for p in scripts.cli.commands[command[1]].params for option in p.opts}
    assert {word for word in command if word.startswith("--")} <= options
    port = container("workers")["readinessProbe"]["tcpSocket"]["port"]
    assert groups()["workers"]["rayStartParams"]["node-manager-port"] == str(port)


def test_cluster_has_no_dashboard_and_no_port_outside() -> None:
    head = groups()["head"]
    assert head["serviceType"] == "ClusterIP"
    assert "enableIngress" not in head
    assert head["rayStartParams"]["include-dashboard"] == "false"
    for group in groups().values():
        spec = group["template"]["spec"]
        assert "hostNetwork" not in spec
        assert not any("hostPort" in port for one in spec["containers"] for port in one["ports"])


def test_runs_with_the_tag_ask_for_the_workers_that_there_are(launcher: K8sRunLauncher) -> None:
    spec, workers = pod(launcher, tags("ray")), groups()["workers"]
    given = environment(spec)
    limits = container("workers")["resources"]["limits"]
    assert given["SMOTEXT_ENGINE"] == "ray"
    assert given["SMOTEXT_WORKERS"] == str(workers["replicas"])
    assert given["SMOTEXT_WORKER_GPUS"] == limits["nvidia.com/gpu"]
    assert float(given["SMOTEXT_WORKER_CPUS"]) <= float(limits["cpu"])
    assert given["SMOTEXT_DEVICE"] == "cuda"
    assert given["SMOTEXT_STORE"].startswith("s3://")  # one that all see
    name = documents()["RayCluster"]["metadata"]["name"]
    ports = {port["name"]: port["containerPort"] for port in container("head")["ports"]}
    # KubeRay calls the head's service so
    assert given["RAY_ADDRESS"] == f"ray://{name}-head-svc:{ports['client']}"
    (run,) = spec["containers"]
    assert run["resources"]["limits"]["nvidia.com/gpu"] == "0"
    asked = read_yaml("helm-values.yaml")["runLauncher"]["config"]["k8sRunLauncher"]
    pods = groups()["workers"]["template"]["spec"]
    where = asked["runK8sConfig"]["podSpecConfig"]
    assert (pods["nodeSelector"], pods["tolerations"]) == (
        where["nodeSelector"],
        where["tolerations"],
    )


def test_deployment_page_names_the_files_version() -> None:
    page = (DEPLOY.parent / "docs" / "deployment.md").read_text()
    assert "ray-cluster.yaml" in page
    assert not re.search(r"rayproject/ray", page)
