"""What /proc/self/mountinfo says, whatever somebody has called a directory."""

import pytest

from csfs.mount import mountinfo

LINE = b"36 35 98:0 /root %b rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (rb"/plain", "/plain"),
        (rb"/a\040b\011c\012d\134e", "/a b\tc\nd\\e"),
        (b"/carriage\rreturn", "/carriage\rreturn"),
        (b"/\xff", "/\udcff"),
    ],
)
def test_a_mount_is_found_by_its_name(written: bytes, path: str) -> None:
    mounts = mountinfo.parsed(LINE % written + LINE % b"/other")
    assert [mount.path for mount in mounts] == [path, "/other"]
    assert mountinfo.top_at(mounts, path) is mounts[0]
    assert (mounts[0].device, mounts[0].type, mounts[0].lasting) == ("98:0", "ext3", "rw,errors=continue")


def test_a_process_that_has_ended_has_no_mounts() -> None:
    assert mountinfo.parsed(b"") == []
