"""The chart's values: their keys as of Dagster 1.13, and the pods that its launcher makes of them.

The chart itself is not at hand: its keys are written down here, from its schema.
"""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import validate_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job

from tests.deploy.conftest import read_yaml

KEYS = {
    "": "dagster-user-deployments global generatePostgresqlPasswordSecret postgresql rabbitmq "
    "redis flower ingress computeLogManager runLauncher dagsterWebserver dagsterDaemon "
    "serviceAccount telemetry retention concurrency additionalInstanceConfig extraManifests",
    "postgresql": "enabled image postgresqlHost postgresqlUsername postgresqlPassword "
    "postgresqlDatabase postgresqlParams postgresqlScheme service",
    "dagsterWebserver": "replicaCount image env envSecrets resources",
    "dagsterDaemon": "enabled image env envSecrets resources runCoordinator runMonitoring "
    "runRetries",
    "concurrency": "enabled pools runs",
    "dagster-user-deployments.deployments.0": "name image codeServerArgs port env envSecrets "
    "includeConfigInLaunchedRuns volumes volumeMounts podSecurityContext securityContext",
    "runLauncher.config.k8sRunLauncher": "imagePullPolicy runK8sConfig envSecrets volumes",
    "runLauncher.config.k8sRunLauncher.runK8sConfig": "containerConfig podSpecConfig "
    "podTemplateSpecMetadata jobSpecConfig jobMetadata",
    "computeLogManager.config.s3ComputeLogManager": "bucket prefix localDir endpointUrl region "
    "useSsl verify verifyCertPath skipEmptyFiles uploadInterval uploadExtraArgs showUrlOnly",
    "ingress": "enabled apiVersion labels annotations dagsterWebserver readOnlyDagsterWebserver",
    "ingress.dagsterWebserver": "host path pathType tls precedingPaths succeedingPaths",
}


def value_at(path: str) -> Any:
    found = read_yaml("helm-values.yaml")
    for key in filter(None, path.split(".")):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


@pytest.mark.parametrize("path", KEYS)
def test_helm_values_have_the_keys_of_the_chart(path: str) -> None:
    assert set(value_at(path)) <= set(KEYS[path].split())


def snake(value: dict[str, Any]) -> dict[str, Any]:
    return {re.sub("([A-Z])", r"_\1", key).lower(): inner for key, inner in value.items()}


def instance_settings() -> dict[str, Any]:
    """dagster.yaml as the chart's template writes it from the values, less the storage."""
    daemon = value_at("dagsterDaemon")
    launcher = value_at("runLauncher.config.k8sRunLauncher")
    retention = {
        name: {"purge_after_days": value["purgeAfterDays"]}
        for name, value in value_at("retention").items()
        if name != "enabled"
    }
    return {
        "run_launcher": {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": {
                "service_account_name": "smotext",
                "instance_config_map": "smotext-instance",
                "postgres_password_secret": value_at("global.postgresqlSecretName"),
                "dagster_home": "/opt/dagster/dagster_home",
                "job_namespace": "smotext",
                "image_pull_policy": launcher["imagePullPolicy"],
                "run_k8s_config": snake(launcher["runK8sConfig"]),
            },
        },
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager",
            "class": value_at("computeLogManager.type"),
            "config": snake(value_at("computeLogManager.config.s3ComputeLogManager")),
        },
        "run_monitoring": snake(daemon["runMonitoring"]),
        "run_retries": snake(daemon["runRetries"]),
        "concurrency": {name: snake(value_at(f"concurrency.{name}")) for name in ("pools", "runs")},
        "retention": retention,
        "telemetry": value_at("telemetry"),
        **value_at("additionalInstanceConfig"),
    }


@pytest.fixture
def launcher(tmp_path: Path) -> K8sRunLauncher:
    """As the daemon makes it from the values. It gets the address of a cluster and never calls."""
    (tmp_path / "kubeconfig").write_text(
        yaml.safe_dump(
            {
                "current-context": "none",
                "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
                "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
                "users": [{"name": "none", "user": {}}],
            }
        )
    )
    config = instance_settings()["run_launcher"]["config"]
    return K8sRunLauncher(
        **config, load_incluster_config=False, kubeconfig_file=str(tmp_path / "kubeconfig")
    )


def pod(launcher: K8sRunLauncher, tags: dict[str, str]) -> dict[str, Any]:
    """Of a run with these tags, as the launcher would ask Kubernetes for it."""
    code = value_at("dagster-user-deployments.deployments.0")
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}
    origin = RepositoryPythonOrigin(
        executable_path="python",
        code_pointer=ModuleCodePointer("smotext_assets.definitions", "defs"),
        container_image=f"{code['image']['repository']}:{code['image']['tag']}",
        entry_point=["dagster"],
        container_context={  # what the chart's code location then hands on
            "k8s": {
                "env": code["env"],
                "volumes": code["volumes"],
                "volume_mounts": code["volumeMounts"],
                "run_k8s_config": {"pod_spec_config": {"automount_service_account_token": True}},
            }
        },
    )
    run = dg.DagsterRun(
        job_name="ingest", tags=tags, job_code_origin=JobPythonOrigin("ingest", origin)
    )
    context = launcher.get_container_context_for_run(run)
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(origin.container_image, launcher),
        args=["dagster"],
        job_name="dagster-run",
        user_defined_k8s_config=context.run_k8s_config,
    ).to_dict()
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def tags(name: str) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in read_yaml("run-tags.yaml")[name].items()}


def environment(spec: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}


def test_helm_values_make_an_instance_that_dagster_accepts() -> None:
    found = validate_config(dagster_instance_config_schema(), instance_settings())
    assert found.success, found.errors


def test_helm_values_and_dagster_yaml_agree() -> None:
    ours, theirs = read_yaml("dagster.yaml"), instance_settings()
    assert ours["concurrency"] == theirs["concurrency"]
    assert ours["run_retries"]["max_retries"] == theirs["run_retries"]["max_retries"]
    assert ours["telemetry"] == theirs["telemetry"] == {"enabled": False}


def test_run_pod_has_a_gpu_and_the_image_and_tables_of_its_code_location(
    launcher: K8sRunLauncher,
) -> None:
    spec = pod(launcher, {})
    (container,) = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["node_selector"] == {"nvidia.com/gpu.present": "true"}
    assert [entry["key"] for entry in spec["tolerations"]] == ["nvidia.com/gpu"]
    assert spec["security_context"]["fs_group"] == 10001
    assert container["image"].endswith("/smotext-gpu:0.1.0")
    assert environment(spec)["SMOTEXT_DEVICE"] == "cuda"
    assert environment(spec)["SMOTEXT_STORE"] == "s3://smotext/store"
    assert "/var/lib/smotext" in [mount["mount_path"] for mount in container["volume_mounts"]]


def test_run_pod_without_gpu_has_none_and_goes_to_any_node(launcher: K8sRunLauncher) -> None:
    spec = pod(launcher, tags("without_gpu"))
    (container,) = spec["containers"]
    assert "nvidia.com/gpu" not in json.dumps(container["resources"])
    assert not spec["node_selector"]
    assert not spec["tolerations"]
    assert environment(spec).get("SMOTEXT_DEVICE", "cpu") == "cpu"
    assert environment(spec)["SMOTEXT_STORE"] == "s3://smotext/store"
    assert "/var/lib/smotext" in [mount["mount_path"] for mount in container["volume_mounts"]]
    assert "home" in [volume["name"] for volume in spec["volumes"]]


def test_run_pod_of_a_large_gpu_keeps_the_rest(launcher: K8sRunLauncher) -> None:
    spec = pod(launcher, tags("large_gpu"))
    (container,) = spec["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "96Gi"}
    assert spec["node_selector"] == {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    }
    assert [entry["key"] for entry in spec["tolerations"]] == ["nvidia.com/gpu"]
    assert environment(spec)["SMOTEXT_DEVICE"] == "cuda"
