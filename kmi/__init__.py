"""kmi builds and publishes KubeVirt Machine Images (containerdisks)."""

__version__ = "0.1.0"
