"""The clients: what each language needs, how it is installed and built, and how it is run."""

import os
import platform
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(ROOT / "tests/sdk"))
from stories import Story, run  # noqa: E402

RUST_PLUGINS = ("protoc-gen-prost@0.5.0", "protoc-gen-tonic@0.5.0")


@dataclass(frozen=True)
class Client:
    story: Story
    """What the machine must have, how the generators are installed, and how the program is run."""
    build: Callable[[Path], None]
    """Makes the program, once the code is generated. Done each time: the tools know what changed."""


def _client(name: str, needs: tuple[str, ...], inputs: str, install, build, command) -> Client:
    # An absolute folder stays what it is when it is joined.
    return Client(Story(name, str(HERE / name), needs, inputs, install, command), build)


def _go_install(folder: Path):
    run("go", "mod", "download", cwd=folder)


def _go_build(folder: Path):
    run("go", "build", "-o", "bin/", ".", cwd=folder)


def _python_install(folder: Path):
    run(sys.executable, "-m", "venv", "--clear", "venv", cwd=folder)
    run("venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", "--requirement", "requirements.txt", cwd=folder)
    run("venv/bin/python", "-m", "pip", "check", cwd=folder)


def _python_build(folder: Path):
    run("venv/bin/python", "-m", "compileall", "-q", "client.py", "gen", cwd=folder)


def _typescript_install(folder: Path):
    run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", cwd=folder)


def _typescript_build(folder: Path):
    run("npm", "run", "build", cwd=folder)


def _maven(folder: Path, *arguments: str):
    run("mvn", "--quiet", "--batch-mode", "--no-transfer-progress", *arguments, cwd=folder)


def _java_install(folder: Path):
    # The generators as Maven Central names them for a machine.
    system = {"Darwin": "osx"}.get(platform.system(), "linux")
    machine = {"arm64": "aarch_64", "aarch64": "aarch_64"}.get(platform.machine(), "x86_64")
    _maven(folder, "dependency:copy@plugins", f"-Dplatform={system}-{machine}")
    for plugin in (folder / "plugins").iterdir():
        plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)


def _java_build(folder: Path):
    _maven(folder, "compile", "dependency:copy-dependencies", "-DincludeScope=runtime",
           "-DoutputDirectory=target/lib")


def _rust_install(folder: Path):
    # Not optimized, without debug information and in the folder of the program's own build: so the
    # crates that both need are compiled once.
    run("cargo", "install", "--locked", "--debug", "--quiet", "--force", "--root", "plugins",
        *RUST_PLUGINS, cwd=folder, CARGO_TARGET_DIR=str(folder / "target"),
        CARGO_PROFILE_DEV_DEBUG="0", PATH=_with(folder / "plugins/bin"))


def _rust_build(folder: Path):
    run("cargo", "build", "--locked", "--quiet", cwd=folder, CARGO_TARGET_DIR=str(folder / "target"))


def _with(folder: Path) -> str:
    """PATH with a folder more, which cargo would ask for otherwise."""
    return f"{os.environ['PATH']}{os.pathsep}{folder}"


CLIENTS = [
    _client("go", ("go",), "go.*", _go_install, _go_build, ["bin/auditlogs-example"]),
    _client("python", (), "requirements.txt", _python_install, _python_build,
            ["venv/bin/python", "client.py"]),
    _client("typescript", ("node", "npm"), "package*.json", _typescript_install, _typescript_build,
            ["node", "dist/client.js"]),
    _client("java", ("java", "javac", "mvn"), "pom.xml", _java_install, _java_build,
            ["java", "-cp", "target/classes:target/lib/*", "Client"]),
    _client("rust", ("cargo",), "Cargo.lock", _rust_install, _rust_build,
            ["target/debug/audit-logs-client"]),
]
