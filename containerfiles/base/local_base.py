"""Write an OCI layout with a tiny base image made of this machine's static busybox.

For the demo, the tests, and sites that reach no registry: ``python containerfiles/base/local_base.py FOLDER``, then
``base = "FOLDER"`` in kmi.toml. The same busybox gives the same digest.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from kmi.host.run import which
from kmi.model.platform import Arch
from kmi.oci.layer import Entry, small_layer
from kmi.oci.layout import CONFIG, LAYER, MANIFEST, Descriptor, Layout

TIME = datetime(2020, 1, 1, tzinfo=UTC)
APPLETS = ("cat", "echo", "env", "id", "ls", "sh", "stat", "uname")
PASSWD = b"root:x:0:0:root:/:/bin/sh\nqemu:x:107:107:qemu:/:/bin/sh\n"


def write(out: Path) -> Layout:
    """One layer: /bin/busybox with its links, /usr/bin (KubeVirt mounts over it), /etc/passwd, /tmp."""
    busybox = which("busybox")
    if busybox is None:
        raise SystemExit("busybox is not installed (Debian: busybox-static)")
    arch = Arch.of_machine(os.uname().machine)
    layout = Layout.create(out)
    blob = small_layer(
        [
            Entry(name="bin/", mode=0o755),
            Entry(name="bin/busybox", mode=0o755, data=busybox.read_bytes()),
            *(Entry(name=f"bin/{applet}", mode=0o777, link="busybox") for applet in APPLETS),
            Entry(name="etc/", mode=0o755),
            Entry(name="etc/passwd", mode=0o444, data=PASSWD),
            Entry(name="tmp/", mode=0o1777),
            Entry(name="usr/", mode=0o755),
            Entry(name="usr/bin/", mode=0o755),
        ],
        layout.blobs,
        TIME,
    )
    layer = Descriptor(media_type=LAYER, digest=blob.digest, size=blob.size)
    config = layout.add_json(
        CONFIG,
        {
            "architecture": arch.value,
            "os": "linux",
            "created": TIME.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest)]},
            "history": [{"created": TIME.strftime("%Y-%m-%dT%H:%M:%SZ"), "created_by": "busybox"}],
        },
    )
    image = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json(), "layers": [layer.to_json()]}
    manifest = layout.add_json(MANIFEST, image)
    layout.set_roots((manifest,))
    return layout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: local_base.py FOLDER")
    print(f"{sys.argv[1]}@{write(Path(sys.argv[1])).roots()[0].digest}")
