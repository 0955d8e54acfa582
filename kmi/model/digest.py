"""Content digests, as the OCI image specification writes them (``algorithm:hex``, descriptor.md "Digests")."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms that kmi accepts as proof, with their length in hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Digest:
    """An algorithm and its value in lower-case hexadecimal. A malformed one cannot exist (ValueError)."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = HEX_LENGTHS.get(self.algorithm)
        if length is None:
            raise ValueError(f"digest algorithm {self.algorithm!r} is not one of {', '.join(HEX_LENGTHS)}")
        if re.fullmatch(r"[0-9a-f]+", self.hex) is None or len(self.hex) != length:
            raise ValueError(f"a {self.algorithm} digest has {length} lower-case hex digits, got {self.hex[:140]!r}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``; ValueError if it is not one."""
        algorithm, colon, value = text.partition(":")
        if not colon:
            raise ValueError(f"a digest is written algorithm:hex, got {text[:140]!r}")
        return cls(algorithm=algorithm, hex=value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Digest):
            return NotImplemented
        return self.algorithm == other.algorithm and hmac.compare_digest(self.hex, other.hex)

    def __hash__(self) -> int:
        return hash((self.algorithm, self.hex))

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        return self.hex[:12]
