"""A disk of 1 MiB that boots in seconds: all of it is a boot sector that writes to the serial console."""

from __future__ import annotations


def boot_sector(message: bytes) -> bytes:
    """A disk of 1 MiB that copies itself to its second sector (int 0x13) and, if that worked, sends ``message``."""
    code = (
        b"\x31\xc0\x8e\xd8\x8e\xc0\xfc"  # xor ax, ax; mov ds, ax; mov es, ax; cld
        b"\xb8\x01\x03\xb9\x02\x00\xb6\x00"  # mov ax, 0x0301 (write 1 sector); mov cx, 2; mov dh, 0; dl is ours
        b"\xbb\x00\x7c\xcd\x13\x72\x1b"  # mov bx, 0x7c00; int 0x13; jc done
        b"\xbe\x34\x7c\xba\xfd\x03"  # mov si, message; mov dx, 0x3fd
        b"\xac\x84\xc0\x74\x10"  # next: lodsb; test al, al; jz done
        b"\x88\xc4"  # mov ah, al
        b"\xec\xa8\x20\x74\xfb"  # wait: in al, dx; test al, 0x20 (room to send?); jz wait
        b"\x88\xe0\xb2\xf8\xee\xb2\xfd"  # mov al, ah; mov dl, 0xf8; out dx, al; mov dl, 0xfd
        b"\xeb\xeb"  # jmp next
        b"\xf4\xeb\xfd"  # done: hlt; jmp done
    )
    assert len(code) == 0x34, "the message begins at 0x7c34"
    return ((code + message + b"\0").ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
