"""What a cluster is told about an image."""
