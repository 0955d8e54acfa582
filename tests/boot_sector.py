"""A disk of 1 MiB that boots in seconds: all of it is a boot sector, such as one that writes to the serial console and
then waits for ACPI's power button."""

from __future__ import annotations

_STAY = b"\xf4\xeb\xfd"  # hlt; jmp to the hlt
_POWER_OFF = b"\xba\x04\x06\xb8\x00\x20\xef"  # mov dx, 0x604; mov ax, 0x2000; out dx, ax
"""SLP_EN and sleep type 0 (q35: S5) to PM1a_CNT; SeaBIOS places q35's power management (ACPI 6.5, 4.8.3) at 0x600."""


RESTART_ONCE = (
    b"\xb0\x6a\xe6\x70\xe4\x71\x3c\xa5\x74\x0d"  # mov al, 0x6a; out 0x70, al; in al, 0x71 (CMOS); cmp al, 0xa5; je on
    b"\xb0\x6a\xe6\x70\xb0\xa5\xe6\x71"  # mov al, 0x6a; out 0x70, al; mov al, 0xa5; out 0x71, al
    b"\xb0\xfe\xe6\x64\xf4"  # mov al, 0xfe; out 0x64, al (reset); hlt; on:
)
"""Before ``boot_sector``: resets the machine at its first start, as a guest does that labels its files."""


def boot_sector(message: bytes, before: bytes = b"") -> bytes:
    """A disk of 1 MiB that copies itself to its second sector (int 0x13) and, if that worked, sends ``message``."""
    at = 0x7C00 + len(before) + 0x4C
    code = (
        before
        + (
            b"\x31\xc0\x8e\xd8\x8e\xc0\xfc"  # xor ax, ax; mov ds, ax; mov es, ax; cld
            b"\xb8\x01\x03\xb9\x02\x00\xb6\x00"  # mov ax, 0x0301 (write 1 sector); mov cx, 2; mov dh, 0; dl is ours
            b"\xbb\x00\x7c\xcd\x13\x72\x1b"  # mov bx, 0x7c00; int 0x13; jc done
            b"\xbe" + at.to_bytes(2, "little") + b"\xba\xfd\x03"  # mov si, message; mov dx, 0x3fd
            b"\xac\x84\xc0\x74\x10"  # next: lodsb; test al, al; jz done
            b"\x88\xc4"  # mov ah, al
            b"\xec\xa8\x20\x74\xfb"  # wait: in al, dx; test al, 0x20 (room to send?); jz wait
            b"\x88\xe0\xb2\xf8\xee\xb2\xfd"  # mov al, ah; mov dl, 0xf8; out dx, al; mov dl, 0xfd
            b"\xeb\xeb"  # jmp next
            b"\xfb\xba\x02\x06\xb8\x00\x01\xef"  # done: sti; mov dx, 0x602 (PM1_EN); mov ax, 0x100; out dx, ax
            b"\xf4\xba\x00\x06\xed\xf6\xc4\x01\x74\xf6"  # off: hlt; mov dx, 0x600 (STS); in ax, dx; test ah, 1; jz off
        )
    )
    code += _POWER_OFF + b"\xeb\xfe"  # jmp $
    assert 0x7C00 + len(code) == at, "where the message begins"
    return _disk(code + message + b"\0")


def power_off_sector() -> bytes:
    """Powers the machine off."""
    return _disk(_POWER_OFF + _STAY)


def reset_sector() -> bytes:
    """Resets the machine by its keyboard controller."""
    return _disk(b"\xb0\xfe\xe6\x64" + _STAY)  # mov al, 0xfe; out 0x64, al


def second_disk_sector() -> bytes:
    """Sends the number of the second disk's sectors (int 0x13, function 0x48) as 8 bytes, the least one first."""
    return _disk(
        b"\x31\xc0\x8e\xd8\xfc"  # xor ax, ax; mov ds, ax; cld
        b"\xbe\x00\x06\xc7\x04\x1e\x00"  # mov si, 0x600; mov word [si], 30 (the answer's size)
        b"\xb4\x48\xb2\x81\xcd\x13\x72\x16"  # mov ah, 0x48; mov dl, 0x81; int 0x13; jc done
        b"\xbe\x10\x06\xb9\x08\x00\xba\xfd\x03"  # mov si, 0x610; mov cx, 8; mov dx, 0x3fd
        b"\xec\xa8\x20\x74\xfb"  # wait: in al, dx; test al, 0x20; jz wait
        b"\xac\xb2\xf8\xee\xb2\xfd"  # lodsb; mov dl, 0xf8; out dx, al; mov dl, 0xfd
        b"\xe2\xf3" + _STAY  # loop wait; done
    )


def _disk(code: bytes) -> bytes:
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
