"""Fixtures of the tests that use real tools."""

from __future__ import annotations

from tests.integration.docker_engine import docker_client, docker_engine

__all__ = ["docker_client", "docker_engine"]
