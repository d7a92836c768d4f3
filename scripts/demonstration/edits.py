"""What administrators do to /etc, as they do it: one shell line each, run where `etc` is one member's mounted directory.

Each builds on those before; the directory of `work` files is theirs, the rest is what every Debian has in /etc.
"""

from dataclasses import dataclass

NEEDED = ("passwd", "group", "shadow", "login.defs", "profile", "pam.d", "skel")
"""What a copy of /etc must have for all of this to work."""
OWN = (*NEEDED, "hosts", "gshadow", "subuid", "subgid")
"""What must not be a link: it could lead an edit out of the copy."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of shell. `touched` are the paths it changes, relative to the tree; what is below them belongs to them."""

    title: str
    script: str
    touched: tuple[str, ...]


ACCOUNTS = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid", "passwd-", "shadow-", "group-", "gshadow-")

EDITS = (
    Edit("echo >> hosts", "echo '192.0.2.7 oak.example.net oak' >> etc/hosts", ("hosts",)),
    Edit(
        "vim saves profile, by renaming over it",
        """printf '%s\\n' '$a' 'export EDITOR=vim' . 'x' | "$VIM" -u NONE -i NONE -es -c 'set backupcopy=no' etc/profile
           grep -q EDITOR=vim etc/profile""",
        ("profile",),
    ),
    Edit("sed -i login.defs", "sed -i 's/^UMASK.*/UMASK 027/' etc/login.defs", ("login.defs",)),
    Edit("groupadd demo-crew", 'groupadd --prefix "$PWD" demo-crew', ACCOUNTS),
    Edit("useradd demo-oak", 'useradd --prefix "$PWD" -G demo-crew -s /bin/sh demo-oak', ACCOUNTS),
    Edit("usermod demo-oak", 'usermod --prefix "$PWD" -c "Oak Tree" -aG adm demo-oak', ACCOUNTS),
    Edit(
        "install -D -m 4750 -o daemon -g adm",
        "install -D -m 4750 -o daemon -g adm /bin/true etc/work/bin/tool",
        ("work",),
    ),
    Edit("ln -s, ln -sfn", "ln -s ../login.defs etc/work/link; ln -sfn /bin/true etc/work/link", ("work/link",)),
    Edit("mkfifo -m 620", "mkfifo -m 620 etc/work/pipe", ("work/pipe",)),
    Edit("a name that is not UTF-8", r"""echo odd > etc/work/$'caf\xe9 \n "x"'""", ("work",)),
    Edit("chmod -R pam.d", "chmod -R o-rwx etc/pam.d", ("pam.d",)),
    Edit("chown -R skel", "chown -R daemon:adm etc/skel", ("skel",)),
    Edit("setfacl login.defs", "setfacl -m u:daemon:rw,g:adm:r etc/login.defs", ("login.defs",)),
    Edit("setfattr", "setfattr -n user.origin -v demo etc/work/bin/tool", ("work/bin/tool",)),
    Edit("touch -d, to the nanosecond", "touch -d '2001-02-03 04:05:06.123456789 UTC' etc/profile", ("profile",)),
    Edit("dd, 32 MiB", "dd if=/dev/urandom of=etc/work/large bs=1M count=32 status=none", ("work/large",)),
    Edit(
        "dd, 4 KiB inside the 32 MiB",
        "dd if=/dev/urandom of=etc/work/large bs=4k count=1 seek=5000 conv=notrunc status=none",
        ("work/large",),
    ),
    Edit("mv of the 32 MiB", "mv etc/work/large etc/work/bin/larger", ("work/large", "work/bin/larger")),
    Edit("tar x of 120 paths", "mkdir etc/unpacked; tar -x -f etc.tar -C etc/unpacked", ("unpacked",)),
    Edit("cp -a of it", "cp -a etc/unpacked etc/copied", ("copied",)),
    Edit("mv of the copy", "mv etc/copied etc/moved", ("copied", "moved")),
    Edit("rm -r", "rm -r etc/unpacked", ("unpacked",)),
    Edit(
        "git init, add, commit",
        "cd etc/moved; git init -q; git add -A; git commit -q -m 'all that is here'",
        ("moved",),
    ),
    Edit(
        "git rm, commit on top of that",
        'cd etc/moved; git rm -q -r skel; git commit -q -m "without skel"; git fsck --strict; test -z "$(git status --porcelain)"',
        ("moved",),
    ),
    Edit(
        "rm of what is left",
        "rm -r etc/moved etc/work/bin/larger etc/work/pipe",
        ("moved", "work/bin/larger", "work/pipe"),
    ),
)
