"""The OCI floor: references, layers, image layouts, registries (read side), and the containerDisk contract."""
