"""``make image`` calls ``python -m tests.deploy.image``: build the image on a Debian base, and test it, as root.

No registry of images is asked: the base is made of Debian's packages, and the wheels come from where pip gets them.
Containers run in mount and network namespaces of their own, so nothing is left on the host, whatever its cgroups are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.deploy.manifests import IMAGE, ROOT

PLACE = ROOT / "build" / "image"
BASE = "localhost/runner-base"
PROGRAMS = ("buildah", "podman", "crun", "mmdebstrap", "unshare", "iptables", "ip")
PACKAGES = "buildah podman crun netavark aardvark-dns mmdebstrap iptables iproute2"

# For a host without systemd, whose limits of open files may be low.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
[network]
network_backend = "netavark"
"""

APART = """\
set -e
mount --make-rprivate /
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -l -R /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
fi
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
exec "$@"
"""


def main() -> int:
    """Build and test; return the exit code."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if os.geteuid() != 0 or missing:
        print(f"error: this needs root and {', '.join(missing or PROGRAMS)}", file=sys.stderr)
        print(f"hint: on Debian: apt-get install --no-install-recommends {PACKAGES}", file=sys.stderr)
        return 2
    PLACE.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **_configuration()}
    try:
        _base(environment)
        _build(environment)
        return _test(environment)
    except subprocess.CalledProcessError as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1


def _configuration() -> Mapping[str, str]:
    """Keep images in the folder of the build; return the variables that say so."""
    # Overlays do not stack, and a container's own file system is one.
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", str(PLACE)], text=True).strip()
    driver = "vfs" if kind == "overlayfs" else "overlay"
    storage, containers = PLACE / "storage.conf", PLACE / "containers.conf"
    storage.write_text(
        f'[storage]\ndriver = "{driver}"\ngraphroot = "{PLACE}/storage"\nrunroot = "/run/runner-image"\n', "utf-8"
    )
    containers.write_text(CONTAINERS, "utf-8")
    return {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers)}


def _base(environment: Mapping[str, str]) -> None:
    """Make an image of Debian with Python and Redis, unless it is there."""
    if subprocess.run(["buildah", "inspect", BASE], env=environment, capture_output=True, check=False).returncode == 0:
        return
    tar = PLACE / "base.tar"
    packages = "python3,python3-venv,redis-server,ca-certificates"
    _run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(tar)], environment)
    name = subprocess.check_output(["buildah", "from", "scratch"], env=environment, text=True).strip()
    _run(["buildah", "add", "-q", name, str(tar), "/"], environment)
    _run(["buildah", "commit", "-q", "--rm", "--format", "docker", name, BASE], environment)
    tar.unlink()


def _build(environment: Mapping[str, str]) -> None:
    """Build the image from the wheel in ``dist``, with the versions of ``requirements.lock``."""
    context = PLACE / "context"
    shutil.rmtree(context, ignore_errors=True)
    wheels = context / "wheels"
    wheels.mkdir(parents=True)
    [wheel] = (ROOT / "dist").glob("*.whl")
    shutil.copy(wheel, context)
    locked = re.findall(r"^[A-Za-z0-9._-]+==[^ ;\\]+", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    constraints = PLACE / "constraints.txt"
    constraints.write_text("\n".join(locked), "utf-8")
    # Debian's Python is older than the one that downloads, and needs one package more.
    asked = [f"{wheel}[archive,metrics,web]", "async-timeout"]
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    _run([*pip, "-d", str(wheels), "-c", str(constraints), *asked], environment)
    arguments = {
        "PYTHON_IMAGE": BASE,
        "RUNNER": f"./{wheel.name}[archive,metrics,web]",
        "PIP_OPTIONS": "--no-index --find-links=wheels",
    }
    words = ["buildah", "bud", "-q", "--isolation", "chroot", "--format", "docker", "-t", f"localhost/{IMAGE}"]
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    _run([*words, "-f", str(ROOT / "deploy" / "docker" / "Dockerfile"), str(context)], environment)


def _test(environment: Mapping[str, str]) -> int:
    """Run the tests of the image apart from the host; return pytest's exit code."""
    words = ["unshare", "--mount", "--net", "sh", "-c", APART, "sh"]
    words += [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/deploy/test_image.py"]
    chosen = {"RUNNER_TEST_IMAGE": f"localhost/{IMAGE}", "RUNNER_TEST_REDIS_IMAGE": BASE}
    return subprocess.run(words, cwd=ROOT, env={**environment, **chosen}, check=False).returncode


def _run(words: Sequence[str], environment: Mapping[str, str]) -> None:
    print(" ".join(words[:2]), flush=True)
    subprocess.run(words, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
