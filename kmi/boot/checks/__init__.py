"""The checks, in the order in which they run (``kmi.model.checks``)."""

from kmi.boot.checks import cloud_init, guest_agent, login_prompt, ssh_login
from kmi.boot.checks.check import Check, Guest

ALL: tuple[Check, ...] = (login_prompt.CHECK, guest_agent.CHECK, cloud_init.CHECK, ssh_login.CHECK)

__all__ = ["ALL", "Check", "Guest"]
