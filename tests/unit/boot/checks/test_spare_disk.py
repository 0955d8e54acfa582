import pytest

from kmi.boot.checks import spare_disk
from kmi.boot.console import GaveUp

GOOD = "system=Linux\nroot=/\ntype=btrfs\ndisk=vda\nspare=vdc\nholders=\nformat=ext4\nread=kmi wrote this\n"


def test_what_was_written_is_read_back(guest):
    found = guest(GOOD)
    assert spare_disk.CHECK.run(found) == "ext4 on vdc: written, mounted again and read back"
    assert "kmi-spare" in found.ask.asked[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("spare=vdc", "spare=", "no disk with the serial number kmi-spare"),
        ("spare=vdc", "spare=vda", "holds the root file system"),
        ("holders=", "holders=dm-3", "vdc is in use: dm-3"),
        ("holders=", "holders=/dev/vdc /mnt ext4 rw 0 0", "is in use: /dev/vdc /mnt"),
        ("format=ext4", "format=", "none of mkfs.ext4, mkfs.xfs"),
        ("read=kmi wrote this", "read=", "read '' after mounting it again"),
        (
            "read=",
            "failed=mount -t ext4 /dev/vdc /tmp/tmp.x: unknown filesystem type\nread=",
            "unknown filesystem type",
        ),
        ("read=kmi", "failed=umount /tmp/tmp.x: target is busy.\nread=kmi", "target is busy"),
    ],
)
def test_each_step_that_goes_wrong_fails_by_its_words(guest, old, new, words):
    with pytest.raises(GaveUp, match=words):
        spare_disk.CHECK.run(guest(GOOD.replace(old, new)))
