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


@dataclass(frozen=True)
class Story:
    name: str
    """Of one version of one SDK; the part before the dash is the language."""
    folder: str
    """Where its sources are, beside this file."""
    needs: tuple[str, ...]
    """The programs that the machine must have."""
    install: Callable[[Path], None]
    """Makes everything ready in the folder it is given, which has a copy of the sources."""
    command: Callable[[Path], list]
    """What tells the story, with that folder as the working directory."""
    @property
    def language(self) -> str:
        return self.name.split("-")[0]

    def missing(self) -> str | None:
        absent = [program for program in self.needs if not shutil.which(program)]
        return f"no {' or '.join(absent)} on this machine" if absent else None

    def prepare(self, cache: Path) -> Path:
        """Installs what the story needs, unless that was done for these very sources."""
        target, stamp = cache / self.name, cache / f"{self.name}.stamp"
        digest = self._digest()
        if not (stamp.is_file() and stamp.read_text() == digest):
            stamp.unlink(missing_ok=True)
            shutil.copytree(HERE / self.folder, target, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("__pycache__", "node_modules", "target"))
            self.install(target)
            stamp.write_text(digest)
        return target

    def _digest(self) -> str:
        digest = hashlib.sha256(sys.version.encode())
        sources = (path for path in (HERE / self.folder).rglob("*") if path.is_file())
        for path in sorted(sources):
            if "__pycache__" not in path.parts:
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


STORIES = [
    Story("http", "http", (), _python("requirements.txt"), lambda _: ["venv/bin/python", "story.py"]),
    Story("curl", "curl", ("curl",), lambda _: None, lambda _: [sys.executable, "story.py"]),
    Story("python-10", "python", (), _python("requirements_10.txt"),
          lambda _: ["venv/bin/python", "story_10.py"]),
    Story("python-5", "python", (), _python("requirements_5.txt"),
          lambda _: ["venv/bin/python", "story_5.py"]),
    Story("node-11", "node", ("node", "npm"), _node, lambda _: ["node", "story.mjs", "workos-11"]),
    Story("node-7", "node", ("node", "npm"), _node, lambda _: ["node", "story.mjs", "workos-7"]),
    Story("rust-3", "rust", ("cargo",), _rust, lambda _: ["target/debug/sdk-story"]),
    Story("java-7", "java", ("java", "mvn"), _java,
          lambda _: ["java", "-cp", "target/classes:target/lib/*", "Story"]),
]

NOT_WRITTEN = {
    "go": "the Go module proxy that is reached from here does not serve github.com/workos/workos-go",
    "ruby": "no story yet",
    "php": "no story yet",
    "dotnet": "no story yet",
}
"""The languages with an official SDK for which there is no story, and why."""
