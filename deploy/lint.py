"""Checks what deploys the service, as far as a machine without container engine and cluster can: each file
against the schema or linter of its kind, and all of them against one another and the program.

`just deploy-lint` installs requirements.txt and runs it. A tool that the machine does not have (systemd-analyze,
kubectl, bash) leaves its check out, and says so.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import compose_spec
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
KUBERNETES = ["1.30", "1.37"]
# systemd's own measure, 0 to 10; a unit without sandbox has 9.6.
MOST_EXPOSURE = 2.0
# The drain of the service, in seconds (src/app.rs, src/app/upkeep.rs, src/telemetry): 20 for calls, 8 for what follows, 1.5 for OTLP.
DRAIN = 30

failures = []
# Found by read_settings().
known_settings = set()


def check(true, what):
    if not true:
        failures.append(what)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def read_settings():
    """The variables that the program knows, from its table of settings."""
    source = (ROOT / "src/config/sources.rs").read_text()
    keys = re.findall(r'\("([a-z_.]+)", Form::', source)
    secrets = re.search(r"const SECRETS.*?\[(.*?)\];", source, re.S)[1]
    for key in keys:
        known_settings.add(variable(key))
    for key in re.findall(r'"([a-z_.]+)"', secrets):
        known_settings.add(variable(key) + "_FILE")
    check(len(known_settings) > 20, "the settings of src/config/sources.rs cannot be read")


def variable(key):
    return "AUDIT_LOGS_" + key.upper().replace(".", "_")


def check_settings(place, names):
    for name in names:
        if name.startswith("AUDIT_LOGS_"):
            check(name in known_settings, f"{place}: there is no setting {name}")


def dockerfile():
    text = (ROOT / "Dockerfile").read_text()
    linted = run(str(Path(sys.executable).parent / "hadolint"), "Dockerfile", cwd=ROOT)
    check(linted.returncode == 0, f"hadolint: {linted.stdout}{linted.stderr}")
    check_settings("Dockerfile", re.findall(r"\b(AUDIT_LOGS_\w+)=\S", text.split("\nENV", 2)[-1]))
    for needed in ("USER 65532", "HEALTHCHECK", "VOLUME", "org.opencontainers.image.version"):
        check(needed in text, f"Dockerfile: no {needed}")
    cargo = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'rust-version = "([\d.]+)"', cargo)[1]
    check(f"RUST_VERSION={version}" in text, f"Dockerfile: RUST_VERSION is not {version}")
    # What the build reads must be in its context.
    kept = (ROOT / ".dockerignore").read_text().split()
    for path in ("Cargo.toml", "Cargo.lock", "build.rs", "src", "migrations", "proto", "third_party"):
        check(f"!{path}" in kept, f".dockerignore: {path} is not let in")


def compose():
    text = (ROOT / "compose.yaml").read_text()
    document = yaml.safe_load(text)
    known = {key: value for key, value in document.items() if not key.startswith("x-")}
    try:
        compose_spec.ComposeSpecification.model_validate(known)
    except ValueError as error:
        check(False, f"compose.yaml: {error}")
    for kind in ("secrets", "configs"):
        for name, entry in document[kind].items():
            if kind == "configs":
                check((ROOT / entry["file"]).is_file(), f"compose.yaml: no {entry['file']}")
            else:
                made = (ROOT / "deploy/compose/make-secrets.sh").read_text()
                check(f"secret {name} " in made, f"make-secrets.sh does not make {name}")
    for name, service in document["services"].items():
        check_settings(f"compose.yaml: {name}", service.get("environment", {}))
        for kind in ("secrets", "configs"):
            for entry in service.get(kind, []):
                source = entry if isinstance(entry, str) else entry["source"]
                check(source in document[kind], f"compose.yaml: {name}: no {kind} {source}")
        for other in service.get("depends_on", {}):
            check(other in document["services"], f"compose.yaml: {name}: no service {other}")
        if service.get("command") == ["serve"]:
            grace = int(service["stop_grace_period"].removesuffix("s"))
            check(grace > DRAIN, f"compose.yaml: {name} is killed while it drains")


def kubernetes():
    if not shutil.which("kubectl"):
        return "kubectl"
    built = run("kubectl", "kustomize", str(ROOT / "deploy/kubernetes"))
    check(built.returncode == 0, f"kubectl kustomize: {built.stderr}")
    resources = [resource for resource in yaml.safe_load_all(built.stdout) if resource]
    for resource in resources:
        name = f"{resource['kind']} {resource['metadata']['name']}"
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                check(False, f"{name} (Kubernetes {version}): {error}")
        kubernetes_resource(name, resource, resources)
    return None


def kubernetes_resource(name, resource, resources):
    spec = resource.get("spec", {})
    if resource["kind"] == "ConfigMap":
        check_settings(name, resource["data"])
    if resource["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        selector = spec.get("podSelector", spec.get("selector", {}))
        labels = selector.get("matchLabels", selector)
        pods = [r for r in resources if r["kind"] == "Deployment"]
        found = pods[0]["spec"]["template"]["metadata"]["labels"]
        check(labels and labels.items() <= found.items(), f"{name} does not select the pods")
    if resource["kind"] != "Deployment":
        return
    pod = spec["template"]["spec"]
    stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod["terminationGracePeriodSeconds"]
    check(grace > stop + DRAIN, f"{name}: a pod is killed while it drains")
    check(spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, f"{name}: maxUnavailable")
    # The level `restricted` of the Pod Security Standards.
    security = pod["securityContext"]
    check(security["runAsNonRoot"] is True, f"{name}: runs as root")
    check(security["seccompProfile"]["type"] == "RuntimeDefault", f"{name}: seccomp")
    for container in pod["initContainers"] + pod["containers"]:
        check_settings(name, [entry["name"] for entry in container["env"]])
        own = container["securityContext"]
        check(own["allowPrivilegeEscalation"] is False, f"{name}: privilege escalation")
        check(own["readOnlyRootFilesystem"] is True, f"{name}: the root can be written to")
        check(own["capabilities"]["drop"] == ["ALL"], f"{name}: capabilities")


def systemd():
    if not shutil.which("systemd-analyze"):
        return "systemd-analyze"
    unit = (ROOT / "deploy/systemd/audit-logs.service").read_text()
    secrets = (ROOT / "deploy/systemd/secrets.conf").read_text()
    check_settings("deploy/systemd", re.findall(r"^Environment=(\w+)=", unit + secrets, re.M))
    grace = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)[1])
    check(grace > DRAIN, "audit-logs.service is killed while it drains")
    with tempfile.TemporaryDirectory() as directory:
        # The program and its page are not installed here.
        unit = unit.replace("/usr/local/bin/audit-logs", shutil.which("true"))
        unit = unit.replace("man:audit-logs(1)", "https://example.com")
        file = Path(directory) / "audit-logs.service"
        file.write_text(unit)
        dropins = Path(directory) / "audit-logs.service.d"
        dropins.mkdir()
        (dropins / "secrets.conf").write_text(secrets)
        said = run("systemd-analyze", "verify", "--man=no", str(file))
        check(said.returncode == 0 and not said.stderr, f"systemd-analyze verify: {said.stderr}")
        said = run("systemd-analyze", "security", "--offline=true", str(file))
        level = re.search(r"exposure level for \S+: ([\d.]+)", said.stdout)
        check(level, f"systemd-analyze security: {said.stdout}{said.stderr}")
        if level:
            print(f"audit-logs.service: exposure {level[1]} of 10")
            check(float(level[1]) <= MOST_EXPOSURE, "audit-logs.service is too exposed")
    return None


def scripts():
    for script in sorted(ROOT.glob("deploy/**/*.sh")):
        said = run("bash", "-n", str(script))
        check(said.returncode == 0, said.stderr)


def main():
    read_settings()
    for name, part in [
        ("Dockerfile", dockerfile),
        ("compose.yaml", compose),
        ("deploy/kubernetes", kubernetes),
        ("deploy/systemd", systemd),
        ("scripts", scripts),
    ]:
        missing = part()
        print(f"{name}: LEFT OUT, there is no {missing}" if missing else f"{name}: checked")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


main()
