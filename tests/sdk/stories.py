"""The stories: what each needs, how it is installed, and how it is told."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


class LeftOut(Exception):
    """Why a story cannot be told here, though the machine has the language."""


@dataclass(frozen=True)
class Story:
    name: str
    """Of one version of one SDK; the part before the dash is the language."""
    folder: str
    """Where its sources are, beside this file."""
    needs: tuple[str, ...]
    """The programs that the machine must have."""
    inputs: str
    """Which of the sources the installation depends on, as a glob."""
    install: Callable[[Path], None]
    """Makes everything ready in the folder it is given, which has a copy of the sources."""
    command: list[str]
    """What tells the story, with that folder as the working directory."""
    @property
    def language(self) -> str:
        return self.name.split("-")[0]

    def missing(self) -> str | None:
        absent = [program for program in self.needs if not shutil.which(program)]
        return f"no {' or '.join(absent)} on this machine" if absent else None

    def prepare(self, cache: Path) -> Path:
        """Installs what the story needs, unless that was done for these very inputs."""
        target, stamp = cache / self.name, cache / f"{self.name}.stamp"
        shutil.copytree(HERE / self.folder, target, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__", "node_modules", "target"))
        digest = self._digest()
        if not (stamp.is_file() and stamp.read_text() == digest):
            stamp.unlink(missing_ok=True)
            self.install(target)
            stamp.write_text(digest)
        return target

    def _digest(self) -> str:
        digest = hashlib.sha256(sys.version.encode())
        for path in sorted((HERE / self.folder).glob(self.inputs)):
            if path.is_file():
                digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def run(*command, cwd: Path, **environment):
    """Runs an installer; its output is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout[-4000:]}")


def _python(requirements: str) -> Callable[[Path], None]:
    def install(target: Path):
        run(sys.executable, "-m", "venv", "--clear", "venv", cwd=target)
        run("venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary=:all:", "--requirement", requirements, cwd=target)
        run("venv/bin/python", "-m", "pip", "check", cwd=target)

    return install


def _node(target: Path):
    run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", cwd=target)


def _rust(target: Path):
    # A release of the SDK brings a whole TLS stack: optimizing it would only cost time.
    run("cargo", "build", "--locked", "--quiet", cwd=target, CARGO_TARGET_DIR=str(target / "target"))


def _java(target: Path):
    run("mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "compile",
        "dependency:copy-dependencies", "-DoutputDirectory=target/lib", cwd=target)


def _go(target: Path):
    try:
        # Without a go.sum of ours: what is downloaded is held against the checksum database.
        run("go", "build", "-mod=mod", "-o", "bin/", "./...", cwd=target)
    except RuntimeError as error:
        if "This module version is not available" in str(error):
            raise LeftOut("the Go module proxy does not serve github.com/workos/workos-go") from error
        raise


def _go_story(version: int) -> Story:
    return Story(f"go-{version}", "go", ("go",), "**/*", _go, [f"bin/story{version}"])


def _python_story(name: str, version: str, needs: tuple[str, ...] = ()) -> Story:
    requirements = f"requirements_{version}.txt"
    file = f"story_{name.split('-')[-1]}.py"
    return Story(name, "python", needs, requirements, _python(requirements),
                 ["venv/bin/python", file])


def _node_story(version: int) -> Story:
    return Story(f"node-{version}", "node", ("node", "npm"), "package*.json", _node,
                 ["node", "story.mjs", f"workos-{version}"])


STORIES = [
    _python_story("http", "http"),
    _python_story("curl", "http", ("curl", "bash")),
    _python_story("python-10", "10"),
    _python_story("python-5", "5"),
    _node_story(11),
    _node_story(7),
    Story("rust-3", "rust", ("cargo",), "**/*", _rust, ["target/debug/sdk-story"]),
    Story("java-7", "java", ("java", "mvn"), "**/*", _java,
          ["java", "-cp", "target/classes:target/lib/*", "Story"]),
    _go_story(10),
    _go_story(4),
]

NOT_WRITTEN = {
    "dotnet": "no story yet",
    "elixir": "no story yet",
    "php": "no story yet",
    "ruby": "no story yet",
}
"""The languages with an official SDK for which there is no story, and why."""
