"""What every verb gets: the settings, the reporter, the cache when it first asks for it, and a way to stdout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from kmi.cli import streams
from kmi.host.store import Store
from kmi.host.ui import Reporter
from kmi.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    settings: Settings
    ui: Reporter

    @cached_property
    def store(self) -> Store:
        return Store(self.settings.cache, self.ui.warn)

    def say(self, text: str) -> None:
        """To stdout: for machines."""
        streams.say(text + "\n")

    def say_json(self, value: object) -> None:
        self.say(json.dumps(value, indent=2, ensure_ascii=not streams.wide()))
