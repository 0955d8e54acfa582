"""A simulated cluster (tests/kubevirt_api.py) and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kmi.host.patience import Patience
from kmi.kubevirt import kubeconfig
from kmi.kubevirt.api import connected
from kmi.kubevirt.resources import Resources
from tests.kubevirt_api import Simulated, simulated

QUICK = Patience(connect=1.0, stall=1.0)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Simulated]:
    with simulated(tmp_path / "cluster") as made:
        yield made


@pytest.fixture
def resources(cluster: Simulated) -> Iterator[Resources]:
    found = kubeconfig.find(environ={"KUBECONFIG": str(cluster.kubeconfig())})
    with connected(found, patience=QUICK) as api:
        yield Resources(api)
