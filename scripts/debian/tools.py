"""Administration tools, each a shell script that runs in a Debian root whose /etc is a volume. They go in this order."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool at work. `check` is a shell script that succeeds when the work is done as it should be."""

    name: str
    script: str
    check: str = "true"


EDITORS = {
    "append": 'for file; do :; done; echo "# edited" >>"$file"',
    # crontab(1) goes by the second of the last change.
    "append-later": 'for file; do :; done; sleep 1.1; echo "# edited" >>"$file"',
    "grant": 'for file; do :; done; echo "tester ALL=(root) /bin/true" >>"$file"',
}
"""What the tools that call an editor are given for one; the file is its last argument."""

_EDIT = "EDITOR=/usr/local/bin/append VISUAL=/usr/local/bin/append SUDO_EDITOR=/usr/local/bin/append"

TOOLS = (
    Tool(
        "useradd",
        "useradd -m -s /bin/bash -c 'A Tester,,,' tester",
        "grep -q ^tester: /etc/passwd /etc/shadow /etc/subuid",
    ),
    Tool("passwd", r"printf 'geheim\ngeheim\n' | passwd tester", "grep -q '^tester:[$]' /etc/shadow"),
    Tool("chpasswd", "echo tester:another | chpasswd", "passwd -S tester | grep -q ' P '"),
    Tool("usermod", "usermod -aG adm,sudo -s /bin/sh tester", "id -nG tester | grep -q sudo"),
    Tool(
        "groupadd, gpasswd, groupmod, groupdel",
        "groupadd g1; gpasswd -a tester g1; groupmod -n g2 g1; groupadd g3; groupdel g3",
    ),
    Tool(
        "chage, chsh, chfn",
        "chage -M 90 tester; chsh -s /bin/bash tester; chfn -f Other tester",
        "grep -q Other /etc/passwd",
    ),
    Tool(
        "adduser, deluser",
        "adduser --disabled-password --gecos x second; adduser second adm; deluser second adm",
        "id second",
    ),
    Tool("userdel", "userdel -r second", "! id second"),
    Tool(
        "vipw, vigr", f"{_EDIT} vipw -q; {_EDIT} vigr -q; sed -i '/# edited/d' /etc/passwd /etc/group; pwck -rq || true"
    ),
    Tool("pwconv, grpconv", "pwunconv; pwconv; grpunconv; grpconv", "test -s /etc/shadow -a -s /etc/gshadow"),
    Tool("visudo", "EDITOR=/usr/local/bin/grant visudo", "visudo -cq && grep -q ^tester /etc/sudoers"),
    Tool(
        "visudo -f",
        f"{_EDIT} visudo -f /etc/sudoers.d/tester; chmod 440 /etc/sudoers.d/tester",
        "grep -q edited /etc/sudoers.d/tester && visudo -cq",
    ),
    Tool("dpkg -i", "dpkg -i /var/cache/apt/archives/nano_*.deb", "test -f /etc/nanorc"),
    Tool(
        "apt-get install",
        "apt-get -y --no-download --no-install-recommends install cron logrotate screen rsync",
        "test -f /etc/screenrc -a -f /etc/logrotate.conf -a -f /etc/crontab",
    ),
    Tool(
        "dpkg --force-confnew",
        "echo '# mine' >>/etc/nanorc; rm /etc/crontab; "
        "dpkg --force-confask,confnew,confmiss -i /var/cache/apt/archives/nano_*.deb /var/cache/apt/archives/cron-daemon-common_*.deb",
        "test -f /etc/crontab && ! grep -q '# mine' /etc/nanorc",
    ),
    Tool(
        "dpkg --force-confold",
        "echo '# mine' >>/etc/screenrc; dpkg --force-confold -i /var/cache/apt/archives/screen_*.deb",
    ),
    Tool("apt-get purge", "apt-get -y purge screen", "! test -e /etc/screenrc"),
    Tool(
        "dpkg-divert",
        "dpkg-divert --rename --divert /etc/motd.own --add /etc/motd; echo hi >/etc/motd",
        "test -e /etc/motd.own",
    ),
    Tool(
        "dpkg-statoverride",
        "dpkg-statoverride --update --add root adm 0640 /etc/nanorc",
        "stat -c %a%G /etc/nanorc | grep 640adm",
    ),
    Tool("dpkg-reconfigure", "dpkg-reconfigure -f noninteractive tzdata libc6"),
    Tool(
        "ucf",
        "echo a >/tmp/u; UCF_FORCE_CONFFNEW=1 ucf /tmp/u /etc/ucffed; echo b >/tmp/u; UCF_FORCE_CONFFNEW=1 ucf /tmp/u /etc/ucffed",
    ),
    Tool("pam-auth-update", "pam-auth-update --package --force", "grep -q pam_unix /etc/pam.d/common-auth"),
    Tool(
        "update-alternatives",
        "update-alternatives --set editor /bin/nano; "
        "update-alternatives --install /usr/bin/pager pager /bin/cat 99; update-alternatives --auto editor",
        "readlink /etc/alternatives/pager | grep -q /bin/cat",
    ),
    Tool(
        "ldconfig",
        "mkdir -p /opt/lib; echo /opt/lib >/etc/ld.so.conf.d/opt.conf; ldconfig",
        "ldconfig -p | grep -q libc.so.6",
    ),
    Tool(
        "crontab",
        "echo '5 * * * * root true' >/etc/cron.d/job; chmod 600 /etc/cron.d/job; "
        "echo '@daily true' | crontab -u tester -; VISUAL=/usr/local/bin/append-later crontab -e; crontab -l | crontab -",
        "crontab -l | grep -q edited",
    ),
    Tool(
        "logrotate",
        "mkdir -p /etc/app; for i in 1 2 3; do "
        "seq 2000 >/etc/app/log; printf '/etc/app/log {\\nrotate 2\\ncompress\\ncreate 0640 root adm\\n}\\n' >/etc/logrotate.d/app; "
        "logrotate -f /etc/logrotate.d/app; done; seq 99 >/etc/app/copied; "
        "printf '/etc/app/copied {\\nrotate 1\\ncopytruncate\\n}\\n' >/etc/logrotate.d/copied; logrotate -f /etc/logrotate.d/copied",
        "test -f /etc/app/log.2.gz -a -f /etc/app/copied.1",
    ),
    Tool(
        "git, as etckeeper has it",
        "cd /etc; git init -q; git config user.email a@b; git config user.name a; git add -A; git commit -qm one; "
        "echo x >>hosts; echo y >new; git add -A; git commit -qm two; git checkout -q HEAD~1; git checkout -q -; "
        "git mv new newer; git stash -q; git stash pop -q; git reset -q --hard; git clean -qfd; git gc -q",
        'cd /etc && git fsck && test -z "$(git status --porcelain)"',
    ),
    Tool(
        "git, a repository below",
        "mkdir /etc/site; cd /etc/site; git init -q; git config user.email a@b; git config user.name a; "
        "for i in $(seq 20); do echo $i >f$i; git add .; git commit -qm $i; done; git rebase -q HEAD~5; git repack -adq; git gc -q; "
        "git clone -q /etc/site /etc/site2",
        "cd /etc/site && git fsck && cd /etc/site2 && git fsck",
    ),
    Tool(
        "vim",
        'for how in yes no auto; do vim.tiny -es -u NONE -c "set backupcopy=$how backup writebackup backupext=.bak" '
        "-c '1s/^/# vim /' -c wq /etc/hosts; done; vim.tiny -es -u NONE -c 'normal ohello' -c wq /etc/issue",
        "test $(grep -c '# vim' /etc/hosts) = 1 && grep -q hello /etc/issue",
    ),
    Tool(
        "sed -i, perl -i",
        "sed -i 's/hello/HELLO/' /etc/issue; sed -i.was 's/#//' /etc/hosts; perl -pi -e 's/HELLO/Hi/' /etc/issue",
    ),
    Tool(
        "nano's way: write, fsync, chmod",
        "cp /etc/issue /etc/issue.new; sync /etc/issue.new; mv /etc/issue.new /etc/issue",
    ),
    Tool(
        "install, cp -a, mv, ln, mkfifo",
        "cd /etc/app; install -m 4750 -g adm /bin/true t; cp -a t u; mv u v; ln -s v w; mkfifo p",
    ),
    Tool(
        "hard links (ln)",
        "cd /etc/app; echo one >h1; ln h1 h2; echo two >h3; ln h3 h4; rm h3",
        "grep -q one /etc/app/h2",
    ),
    Tool(
        "tar, rsync, cpio-like copies",
        "cd /etc; tar cf - pam.d apt | tar xf - -C app; rsync -a --delete pam.d/ app/r/; rsync -a apt/ app/r/",
    ),
    Tool(
        "setfacl, setfattr, setcap-like",
        "setfacl -m u:tester:rw,d:g:adm:r /etc/app; setfattr -n user.a -v b /etc/app/t; touch /etc/app/acl",
    ),
    Tool(
        "chown, chmod, touch",
        "chown -R tester:adm /etc/app; chmod -R g+w /etc/app; touch -d 2001-02-03 /etc/app/log; chown root /etc/app",
    ),
    Tool("ssh-keygen -A", "rm -f /etc/ssh/ssh_host_*; ssh-keygen -A", "ls /etc/ssh/ssh_host_*_key"),
    Tool("ssh-keygen", "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/own_key", "ssh-keygen -lf /etc/ssh/own_key"),
    Tool(
        "update-ca-certificates",
        "mkdir -p /usr/local/share/ca-certificates; cp /usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt "
        "/usr/local/share/ca-certificates/own.crt; update-ca-certificates; update-ca-certificates --fresh",
        "test -L /etc/ssl/certs/own.pem -a -s /etc/ssl/certs/ca-certificates.crt",
    ),
    Tool(
        "systemctl enable",
        "systemctl disable ssh; systemctl enable ssh; systemctl mask cron; systemctl set-default rescue.target; "
        "systemctl preset-all; systemctl unmask cron; systemctl add-wants multi-user.target rescue.service",
        "test -L /etc/systemd/system/multi-user.target.wants/ssh.service",
    ),
    Tool(
        "locale-gen",
        "sed -i 's/^# *de_AT.UTF-8/de_AT.UTF-8/' /etc/locale.gen; locale-gen; update-locale LANG=de_AT.UTF-8",
    ),
    Tool(
        "update-rc.d",
        "update-rc.d ssh remove; update-rc.d ssh defaults; update-rc.d cron disable",
        "ls /etc/rc2.d/S*ssh",
    ),
    Tool("time zone", "ln -sf /usr/share/zoneinfo/Europe/Vienna /etc/localtime; echo Europe/Vienna >/etc/timezone"),
    Tool("rm -r", "rm -r /etc/site2 /etc/app/r", "! test -e /etc/site2"),
    Tool(
        "apt-get autoremove --purge",
        "apt-get -y --purge autoremove; apt-get -y purge nano rsync",
        "! test -e /etc/nanorc",
    ),
)
