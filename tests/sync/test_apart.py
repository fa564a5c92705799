"""Networks that fail as networks do: by the kernel's own hand, in namespaces."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("tenants")

NAMESPACE = ("unshare", "-n" if os.geteuid() == 0 else "-rn", "--")


def _is_allowed() -> bool:
    if not (shutil.which("unshare") and shutil.which("nsenter") and shutil.which("ip")):
        return False
    tried = [*NAMESPACE, "unshare", "-n", "ip", "link", "add", "one", "type", "veth", "peer", "name", "other"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _is_allowed(), reason="networks of its own take the right to unshare, and iproute2")
def test_what_comes_while_the_network_is_dead_is_not_missed_and_its_death_is_noticed(
    dsn: str,
) -> None:
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "sync.apart", dsn],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
