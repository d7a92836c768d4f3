"""csfs as mount(8), fstab, umount(8), findmnt and df know it."""

import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.cli import mount_helper
from scripts.support.members import kill
from tests.cli.hosts import MountHost, mount_host

pytestmark = [pytest.mark.mount, pytest.mark.cluster]

OPTIONS = "_netdev,nofail,x-systemd.mount-timeout=30,noatime"


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountHost]:
    """A host with the volumes `www` and `srv`, which the module's tests share."""
    with mount_host(tmp_path_factory.mktemp("host")) as made:
        for name in ("www", "srv"):
            made.volume(name)
        yield made


@pytest.fixture
def host(namespace: MountHost) -> Iterator[MountHost]:
    """The host with both volumes in its fstab, neither of them mounted."""
    home = f"home={namespace.home}"
    www, srv = namespace.base / "www", namespace.base / "srv"
    namespace.write_fstab(
        f"csfs:www {www} csfs {OPTIONS},{home} 0 0",
        f"{srv} {srv} csfs noauto,{home} 0 0",
        "none /nowhere csfs noauto 0 0",
    )
    yield namespace
    for name in ("www", "srv"):
        while namespace.found(namespace.base / name).get("fstype") == "fuse.csfs":
            namespace.csfs("umount", "--lazy", str(namespace.base / name))


def test_fstab_mounts_and_umount_unmounts(host: MountHost) -> None:
    www, srv = host.base / "www", host.base / "srv"
    host.ok("mount", "-a")
    assert host.found(www)["source"] == "csfs:www"
    assert host.found(www)["fstype"] == "fuse.csfs"
    assert "noatime" in host.found(www)["options"].split(",")
    assert host.found(srv) == {}
    host.ok("mount", str(srv))
    assert host.ok("mountpoint", str(srv)) == f"{srv} is a mountpoint\n"
    host.ok("sh", "-c", f"echo a >{www}/a; echo b >{srv}/b")
    host.ok("umount", str(www))
    host.ok("umount", str(srv))
    assert (host.found(www), host.found(srv)) == ({}, {})
    assert ((www / "a").read_text(), (srv / "b").read_text()) == ("a\n", "b\n")


def test_mount_all_may_be_said_again(host: MountHost) -> None:
    host.ok("mount", "-a")
    host.ok("mount", "-a")
    www, srv = host.base / "www", host.base / "srv"
    host.ok("mount", str(srv))
    done = host.run("mount", str(srv))  # by its directory as the source: mount -a cannot know that it is mounted
    assert (done.returncode, "mounted already" in done.stderr) == (0, True)
    done = host.run("mount", str(www))
    assert (done.returncode, "already" in done.stderr) == (32, True)
    done = host.run(*host.csfs_line("mount", str(www)))
    assert (done.returncode, f"csfs umount {www} ends that" in done.stderr) == (3, True)


def test_tools_show_the_file_system_underneath(host: MountHost) -> None:
    www = host.base / "www"
    before = os.statvfs(www)
    host.ok("mount", str(www))
    source, kind, size, target = (
        host.ok("df", "--output=source,fstype,size,target", "-B1", str(www)).splitlines()[1].split()
    )
    assert (source, kind, target) == ("csfs:www", "fuse.csfs", str(www))
    assert int(size) == before.f_blocks * before.f_frsize
    assert "csfs:www" in host.ok("df", "-h", str(www))
    assert "csfs:www" in host.ok("df", "-i", str(www))
    assert host.ok("findmnt", "-n", "-o", "SOURCE", "--target", str(www)) == "csfs:www\n"
    assert f"csfs:www on {www} type fuse.csfs" in host.ok("mount")


def test_options_can_be_changed_while_it_is_mounted(host: MountHost) -> None:
    www = host.base / "www"

    def shown() -> set[str]:
        return set(host.found(www)["options"].split(","))

    host.ok("mount", str(www))
    host.ok("touch", str(www / "kept"))
    host.ok("mount", "-o", "remount,ro", str(www))
    assert "ro" in shown()
    assert "Read-only" in host.run("touch", str(www / "new")).stderr
    host.ok("mount", "-o", "remount,rw,noexec,nosuid", str(www))
    assert {"rw", "noexec", "nosuid", "noatime"} <= shown()
    host.ok("touch", str(www / "new"))
    done = host.run("mount", "-o", "remount,sync", str(www))
    assert (done.returncode, "sync cannot be changed while" in done.stderr) == (32, True)
    done = host.run("mount", "-o", "remount,nonsense", str(www))
    assert (done.returncode, 'no mount option "nonsense"' in done.stderr) == (1, True)
    assert {"rw", "noexec", "nosuid", "noatime"} <= shown()
    host.csfs("mount", "-o", "remount,exec", str(www))
    assert "noexec" not in shown()


def test_a_volume_cannot_become_read_only_under_who_writes(host: MountHost) -> None:
    www = host.base / "www"
    host.ok("mount", str(www))
    script = f"exec 3>{www}/held; mount -o remount,ro {www}; code=$?; exec 3>&-; exit $code"
    done = host.run("sh", "-c", script)
    assert done.returncode == 32
    assert "files are open for writing: " in done.stderr
    assert "sh (" in done.stderr
    host.ok("mount", "-o", "remount,ro", str(www))


def test_a_remount_of_what_is_not_mounted_says_so(host: MountHost) -> None:
    done = host.run(*host.csfs_line("mount", "-o", "remount,ro", str(host.base / "www")))
    assert (done.returncode, "is not mounted by csfs" in done.stderr) == (6, True)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (["-o", "nonsense", "csfs:www", "www"], 1, 'no mount option "nonsense"'),
        (["csfs:other", "www"], 32, "is the directory of volume www, not of other"),
        (["csfs:www", "elsewhere"], 32, "is no volume's directory on this host"),
        (["-o", "context=no_such_label", "csfs:www", "www"], 32, "with -o context=no_such_label"),
    ],
    ids=["option", "volume", "directory", "label"],
)
def test_what_cannot_be_mounted_has_a_reason_and_an_exit_code(
    host: MountHost, line: list[str], code: int, words: str
) -> None:
    # Not by mount(8), which takes a label away itself where there is no SELinux.
    *rest, source, name = line
    (host.base / "elsewhere").mkdir(exist_ok=True)
    options = ["-o", f"home={host.home}"]
    done = host.run("/usr/sbin/mount.csfs", source, str(host.base / name), *options, *rest)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert host.found(host.base / "www") == {}


def test_a_refused_option_leaves_no_daemon_behind(tmp_path: Path) -> None:
    with mount_host(tmp_path) as host:
        directory = host.volume("v")
        for option, words in (("context=no_such_label", "cannot be mounted"), ("nonsense", "no mount option")):
            done = host.run(*host.csfs_line("mount", "-o", option, str(directory)))
            assert words in done.stderr
            assert not host.daemon_runs()
        host.csfs("mount", str(directory))
        assert host.daemon_runs()


def test_a_host_that_goes_down_unmounts_always(host: MountHost) -> None:
    www = host.base / "www"
    host.csfs("umount", "--always", str(www))  # nothing is mounted
    host.ok("mount", str(www))
    done = host.run("sh", "-c", f"cd {www} && {shlex.join(host.csfs_line('umount', '--always', str(www)))}")
    assert (done.returncode, "is busy, held by sh (" in done.stderr) == (0, True), done.stderr
    assert host.found(www) == {}


def test_a_fake_mount_mounts_nothing_and_sloppy_passes_over(host: MountHost) -> None:
    www = host.base / "www"
    fake = ["mount", "-f", "-t", "csfs", "csfs:www", str(www), "-o"]
    host.ok(*fake, f"home={host.home}")
    assert host.run(*fake, f"home={host.home},nonsense").returncode == 1
    assert host.found(www) == {}
    host.ok("mount", "-s", "-t", "csfs", "csfs:www", str(www), "-o", f"nonsense,ro,home={host.home}")
    assert "ro" in host.found(www)["options"].split(",")


def test_a_fstab_line_mounts_though_the_daemon_cannot_start(host: MountHost) -> None:
    www = host.base / "www"
    if host.daemon_runs():
        kill(host.daemon_pid(), signal.SIGTERM)
    keys = host.home / "etc/keys"
    keys.rename(keys.with_name("aside"))
    try:
        done = host.run("mount", str(www))
        assert (done.returncode, "nothing is sent to other members yet" in done.stderr) == (0, True)
        assert host.found(www)["source"] == "csfs:www"
    finally:
        keys.with_name("aside").rename(keys)


def test_a_helper_without_its_arguments_says_what_mount_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount_helper.run(["csfs:www"]) == mount_helper.INVOCATION
    assert "a source and a directory" in capsys.readouterr().err
    assert mount_helper.run(["csfs:www", "/srv", "-N", "/proc/1/ns/mnt"]) == mount_helper.INVOCATION
    assert "nsenter" in capsys.readouterr().err


def test_the_helper_of_mount_calls_csfs_mount() -> None:
    given = ["/etc", "/etc", "-sv", "-o", "rw,home=/x,noatime", "-t", "csfs"]
    wanted = ["mount", "--anyway", "--sloppy", "--content", "-o", "rw,home=/x,noatime", "--", "/etc"]
    assert mount_helper.arguments_of(given) == wanted
    assert mount_helper.arguments_of(["csfs:a", "/srv"]) == ["mount", "--anyway", "--volume", "a", "--", "/srv"]
    assert mount_helper.arguments_of(["csfs:a", "/srv", "-r", "-oro"])[-4:] == ["-o", "ro,ro", "--", "/srv"]
