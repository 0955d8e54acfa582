import pytest

from kmi.boot.checks import Inapplicable, root_disk
from kmi.boot.checks.linux import Facts
from kmi.boot.console import GaveUp, Patience

GIB20 = 20 << 30
FACTS = """system=Linux
root=/
type=ext4
source=/dev/vda1
device=vda1
disk=vda
sectors=41943040
other=6144 vda14
other=253952 vda15
kib=20442788
"""
LVM = """system=Linux
root=/
type=xfs
source=/dev/mapper/rl-root
device=dm-0
disk=vda
sectors=41943040
other=2097152 vda1
other=4194304 dm-1
kib=17764352
"""
TRIMMED = (
    "system=Linux\ntype=ext4\ndisk=vda\ndiscard=2147483136\nstatus=0\nsaid=/: 18.4 GiB (19776110592 bytes) trimmed\n"
)


@pytest.mark.parametrize("size", ["", str(GIB20)])
def test_a_root_that_fills_its_disk_passes(guest, size):
    seen = root_disk.GROWN.run(guest(FACTS, metadata={"virtual-size": size}))
    assert seen == "ext4 of 19.5 GiB on a disk of 20.0 GiB"


def test_other_volumes_on_the_same_disk_are_not_asked_of_the_root(guest):
    assert "xfs of 16.9 GiB" in root_disk.GROWN.run(guest(LVM))
    with pytest.raises(GaveUp, match=r"has 16.9 GiB on dm-0, expected at least 90% of 19.0 GiB"):
        root_disk.GROWN.run(guest(LVM.replace("other=4194304 dm-1\n", "")))


def test_a_root_that_did_not_grow_fails_with_both_sizes(guest):
    small = FACTS.replace("kib=20442788", "kib=2925608")
    with pytest.raises(GaveUp, match=r"has 2.8 GiB on vda1, expected at least 90% of 19.9 GiB"):
        root_disk.GROWN.run(guest(small))


def test_a_root_that_grows_late_passes(guest):
    late = guest(FACTS.replace("kib=20442788", "kib=2925608"), FACTS, patience=Patience(quiet=9, overall=9, least=9))
    assert "19.5 GiB" in root_disk.GROWN.run(late)
    assert len(late.ask.asked) == 2


def test_a_disk_of_another_size_than_the_image_says_fails(guest):
    with pytest.raises(GaveUp, match=f"sees a disk of {GIB20} bytes, and the image says 10737418240"):
        root_disk.GROWN.run(guest(FACTS, metadata={"virtual-size": "10737418240"}))


@pytest.mark.parametrize("line", ["sectors=41943040", "kib=20442788", "other=6144 vda14"])
@pytest.mark.parametrize("value", ["", "-1", "٣", "1e9", "9" * 40])
def test_what_is_no_size_fails(guest, line, value):
    odd = FACTS.replace(line, f"{line.partition('=')[0]}={value} vda14")
    with pytest.raises(GaveUp):
        root_disk.GROWN.run(guest(odd))


def test_a_root_without_a_disk_has_nothing_to_grow(guest):
    live = "system=Linux\nroot=/\ntype=overlay\nsource=overlay\ndevice=\ndisk=\n"
    for check in (root_disk.GROWN, root_disk.TRIMMED):
        with pytest.raises(Inapplicable, match="overlay from overlay"):
            check.run(guest(live))


def test_another_system_is_not_asked(guest):
    with pytest.raises(Inapplicable, match="this is FreeBSD"):
        root_disk.GROWN.run(guest("system=FreeBSD\n"))


def test_trimmed_blocks_are_told(guest):
    assert root_disk.TRIMMED.run(guest(TRIMMED)) == "/: 18.4 GiB (19776110592 bytes) trimmed"


REFUSED = "status=1\nsaid=fstrim: /: the discard operation is not supported\n"


def test_a_refused_trim_fails(guest):
    with pytest.raises(GaveUp, match=r"ended with 1: /: the discard operation is not supported$"):
        root_disk.TRIMMED.run(guest("system=Linux\ntype=ext4\ndisk=vda\ndiscard=2147483136\n" + REFUSED))
    with pytest.raises(GaveUp, match="takes no blocks back"):
        root_disk.TRIMMED.run(guest("system=Linux\ntype=ext4\ndisk=vda\ndiscard=0\n" + REFUSED))


def test_a_file_system_without_trim_is_not_asked_for_it(guest):
    with pytest.raises(Inapplicable, match="jfs gives no blocks back"):
        root_disk.TRIMMED.run(guest("system=Linux\ntype=jfs\ndisk=vda\ndiscard=2147483136\n" + REFUSED))


def test_a_guest_without_fstrim_fails(guest):
    with pytest.raises(GaveUp, match="no program fstrim"):
        root_disk.TRIMMED.run(guest("system=Linux\ntype=ext4\ndisk=vda\nlacking=yes\n"))


def test_facts_leave_out_what_is_no_line_of_theirs():
    facts = Facts.of("motd of a guest\nname=a=b\nname= c \n=\n")
    assert (facts.one("name"), facts.all("name"), facts.one("none")) == ("a=b", ["a=b", "c"], "")


def test_partitions_that_leave_no_room_are_no_proof(guest):
    with pytest.raises(GaveUp, match="leaves the root no room"):
        root_disk.GROWN.run(guest(FACTS.replace("other=6144 ", "other=99999999 ")))
