"""Profiles: what is left out of well-known directories, and why.

A group that lists one of these patterns, word for word, among its includes has it after all.
"""

from typing import Final

_LITTER: Final = {
    "*~": "backup copies of editors",
    "*.swp": "swap files of vim: they belong to the process that edits",
    ".*.sw[a-z]": "further swap files of vim",
    ".*.swpx": "a name that vim tries out",
    "4913": "a name with which vim tries out whether it may write",
    ".#*": "locks of emacs, unfinished files of systemd's tools",
    "#*#": "unsaved buffers of emacs",
    ".nfs*": "files that NFS keeps because someone has them open",
    ".fuse_hidden*": "files that libfuse keeps because someone has them open",
    "/lost+found": "belongs to one file system",
    "/aquota.*": "the quota counts of one file system",
}

_ETC: Final = {
    "/csfs": "csfs itself: this host's name and keys; csfs keeps the cluster's part in step by itself",
    "/machine-id": "must be unique",
    "/hostname": "this host's name",
    "/mailname": "this host's name in mail",
    "/fstab": "this host's disks",
    "/crypttab": "this host's disks",
    "/mtab": "what this host has mounted",
    "/resolv.conf": "written by this host's DHCP or resolver",
    "/resolvconf/run": "what this host's interfaces were given",
    "/network": "this host's addresses (ifupdown)",
    "/netplan": "this host's addresses",
    "/systemd/network": "this host's addresses and names of interfaces",
    "/NetworkManager/system-connections": "this host's connections",
    "/sysconfig/network-scripts": "this host's addresses (Red Hat)",
    "/udev/rules.d/70-persistent-*": "this host's network cards and drives",
    "/udev/hwdb.bin": "compiled from what is installed here",
    "/ssh/ssh_host_*": "this host's identity; a shared key would let one host pose as another",
    "/dropbear/dropbear_*_host_key": "this host's identity",
    "/krb5.keytab": "this host's identity",
    "/iscsi/initiatorname.iscsi": "must be unique, or two hosts write one disk",
    "/nvme/hostnqn": "must be unique",
    "/nvme/hostid": "must be unique",
    "/ssl/private/ssl-cert-snakeoil.key": "made at installation for this host's name",
    "/ssl/certs/ssl-cert-snakeoil.pem": "made at installation for this host's name",
    "/lvm/archive": "history of this host's volume groups",
    "/lvm/backup": "this host's volume groups",
    "/lvm/cache": "this host's disks",
    "/lvm/devices": "this host's disks",
    "/mdadm": "this host's arrays",
    "/multipath": "names given to this host's disks",
    "/zfs/zpool.cache": "this host's pools",
    "/blkid.tab*": "this host's disks",
    "/initramfs-tools/conf.d/resume": "this host's swap",
    "/adjtime": "drift of this host's clock",
    "/ld.so.cache": "built from the libraries installed here",
    "/console-setup/cached_*": "built from what is installed here",
    "/.updated": "time stamp of systemd for this host",
    "/.git": "history of etckeeper: a repository replicated file by file is a broken one",
    "/.etckeeper": "modes as etckeeper saw them here",
    "/.pwd.lock": "lock of the password tools, good on one host only",
    "/cups/subscriptions.conf*": "rewritten by the print server all the time",
} | {
    f"/{name}{suffix}": reason
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
    for suffix, reason in (
        ("-", "backup that this host's password tools make"),
        ("+", "unfinished file of the password tools"),
        (".*", "unfinished files and locks of the password tools"),
    )
}

_ETC_ANYWHERE: Final = {
    "/npasswd": "unfinished file of PAM",
    "/nshadow": "unfinished file of PAM",
    "*.dpkg-new": "unpacked by dpkg, not yet in place",
    "*.dpkg-tmp": "unfinished file of dpkg",
    "*.dpkg-old": "left by an upgrade of this host",
    "*.dpkg-dist": "left by an upgrade of this host",
    "*.ucf-*": "left by an upgrade of this host",
    "*.rpmnew": "left by an upgrade of this host",
    "*.rpmsave": "left by an upgrade of this host",
    "*.rpmorig": "left by an upgrade of this host",
}

_WEB: Final = {
    "*.pid": "number of a process of one host",
    "*.filepart": "upload of WinSCP under way",
    ".pureftpd-upload.*": "upload of Pure-FTPd under way",
    ".in.*.": "upload of ProFTPD under way",
}

_HOME: Final = {
    ".cache": "made again by each host",
    ".Xauthority": "key to one host's display",
    ".ICEauthority": "key to one host's session",
    ".xsession-errors*": "log of one host's session",
    ".gvfs": "a mount of one session",
    "**/.dbus/session-bus": "addresses of one host's sessions",
    "**/.gnupg/S.*": "sockets of one host's agents",
    "**/.local/share/Trash": "what was thrown away on one host",
    "**/.mozilla/firefox/*/lock": "names the host and process that runs",
    ".parentlock": "lock of a running Firefox or Thunderbird",
    "SingletonLock": "names the host and process of a running Chromium",
    "SingletonCookie": "of one running Chromium",
    "SingletonSocket": "of one running Chromium",
}

PROFILES: Final[dict[str, dict[str, str]]] = {
    "etc": _LITTER | _ETC | _ETC_ANYWHERE,
    "web": _LITTER | _WEB,
    "home": _LITTER | _HOME,
}
"""Per profile: pattern to reason."""

VALIDATORS: Final[dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]] = {
    "etc": (
        (("/sudoers", "/sudoers.d"), ("visudo", "-c", "-f", "{file}")),
        (("/ssh/sshd_config",), ("sshd", "-t", "-f", "{file}")),
    ),
}
"""Per profile: paths, and the command that says whether a file there may become live, where a host has it."""


def excludes_of(profile: str, include: tuple[str, ...]) -> tuple[str, ...]:
    """Return what `profile` leaves out of a group with these includes; an empty name is no profile."""
    if not profile:
        return ()
    return tuple(pattern for pattern in PROFILES[profile] if pattern not in include)
