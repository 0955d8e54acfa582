"""From a finished disk to a container image and an index of all architectures."""
