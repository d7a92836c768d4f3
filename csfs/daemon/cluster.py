"""The cluster's configuration as this member has it: who may change it, how changes travel, who is let in."""

import datetime
import logging
import math
import time
from collections.abc import Callable, Mapping

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import csfs
from csfs.config import addresses, files, reader, render
from csfs.config.addresses import Address
from csfs.config.home import Home
from csfs.config.settings import HostSettings, Settings, with_member, without_member
from csfs.errors import ConfigError, NotPermittedError, RemoteProtocolError, UnwritableError
from csfs.replicate.join import Inviter
from csfs.trust import certificates, issued, signatures
from csfs.trust.authority import Authority, public_point
from csfs.trust.identities import Revoked
from csfs.trust.invitations import Invitations
from csfs.wire import messages
from csfs.wire.messages import PROTOCOL, Hello, VolumeHello

log = logging.getLogger(__name__)

SKEW_S_MAX = 2.0
APART_S = 1.0
"""Messages that come further apart did not wait for the same cable: peers say something every few seconds."""
UNLIKE_S_MAX = 10.0
"""Where a configuration is being given to another member, both have another one for a moment."""
SIGNATURE_FILE = "settings.signature"


class Cluster:
    """Settings and trust of this member; `changed` is called whenever the settings on disk were replaced."""

    def __init__(self, home: Home, changed: Callable[[], None]) -> None:
        self.home = home
        settings, host = files.loaded_both(home)
        self.credentials = certificates.load_credentials(home.keys, now())
        self.settings, self.host = self._fitting(settings, host)
        self._changed = changed
        self.skews: dict[str, float] = {}
        self._told_skews: dict[str, tuple[float, float]] = {}
        """What each peer's last message said of its clock, and when that came (monotonic, seconds)."""
        self.unlike: dict[str, tuple[int, float]] = {}
        """Peers that greeted us with another configuration the last time: its revision, and since when (monotonic, seconds)."""

    @property
    def member(self) -> str:
        """This member's name."""
        return self.host.member

    @property
    def peers(self) -> dict[str, tuple[Address, ...]]:
        """The other members, and where they are called."""
        return {member.name: member.address for member in self.settings.members if member.name != self.member}

    @property
    def revoked(self) -> Revoked:
        """Certificates that are trusted no longer."""
        return Revoked(serials=frozenset(int(serial, 16) for serial in self.settings.revoked))

    def reload(self) -> None:
        """Read the configuration again.

        Raises:
            ConfigError: it cannot be used; what was read before stays in force.
        """
        self.settings, self.host = self._fitting(*files.loaded_both(self.home))

    def _fitting(self, settings: Settings, host: HostSettings) -> tuple[Settings, HostSettings]:
        """Return what was read if it is of the cluster and the member that the certificate is for.

        Raises:
            ConfigError: it is not.
        """
        identity = self.credentials.identity
        for file, what, said, certified in (
            (self.home.member_file, "member", host.member, identity.member),
            (self.home.settings_file, "cluster", settings.cluster, identity.cluster),
        ):
            if said != certified:
                raise ConfigError(
                    f"{file}: {what} is {said}, the certificate in {self.home.keys} is that of {certified}; "
                    f"correct {file.name}: it cannot be changed"
                )
        return settings, host

    # ------------------------------------------------------------------------------------------- greeting and settings

    def hello(self, volumes: tuple[VolumeHello, ...], incarnations: dict[int, str]) -> Hello:
        """Return what this member says first on every link."""
        return Hello(
            PROTOCOL,
            csfs.__version__,
            self.settings.cluster,
            self.member,
            time.time_ns(),
            self.settings.revision,
            render.digest(self.settings),
            incarnations,
            volumes,
        )

    def settings_for(self, hello: Hello) -> messages.Settings | None:
        """Return our settings if the peer's are older and we can show that the authority wrote ours."""
        if hello.cluster != self.settings.cluster:
            raise RemoteProtocolError(f"peer {hello.member}: of cluster {hello.cluster!r}, ours is another")
        _, since_s = self.unlike.pop(hello.member, (0, time.monotonic()))
        if not self.goes_by(hello.settings_digest):
            self.unlike[hello.member] = hello.settings_revision, since_s
            log.info("peer %s: has another configuration (revision %d)", hello.member, hello.settings_revision)
        if hello.settings_revision >= self.settings.revision:
            if hello.settings_revision > self.settings.revision or self._authority() is None:
                return None
            if self.goes_by(hello.settings_digest):
                return None
        text = render.rendered(self.settings)
        signature = self._signature(text)
        return messages.Settings(self.settings.revision, text, signature) if signature is not None else None

    def goes_by(self, settings_digest: bytes) -> bool:
        """Return whether this member goes by the configuration with that digest."""
        return settings_digest == render.digest(self.settings)

    def configuration_alarm(self, peer: str) -> str:
        """Return what is to be said of a peer that goes by another configuration, empty if it does not.

        Where one can be given to the other it is, and they greet each other anew; it lasts where somebody has edited csfs.toml on a
        member whose word the others do not take.
        """
        revision, since_s = self.unlike.get(peer, (0, math.inf))
        if time.monotonic() - since_s < UNLIKE_S_MAX:
            return ""
        ours = self.settings.revision
        cure = (
            f"csfs config reload here, with a revision above {max(revision, ours)}, gives it this one"
            if self._authority() is not None
            else "it is edited where csfs init ran: what was edited elsewhere counts for nobody else"
        )
        return f"it has another csfs.toml (revision {revision}, here {ours}); {cure}"

    def notices(self, before: Settings, listening: HostSettings) -> list[str]:
        """Return what of a configuration that was just read does not count as one may think; `before` is what it was.

        `listening` is this host's settings when the daemon was started.
        """
        digest = render.digest(self.settings)
        is_foreign = digest != render.digest(before) and self._signature(render.rendered(self.settings)) is None
        told = (
            (
                self.host.listen != listening.listen,
                f"{self.home.member_file}: listen counts from the daemon's next start on",
            ),
            (
                is_foreign,
                f"{self.home.settings_file} was changed for this host alone: the others take it from where csfs init ran",
            ),
        )
        return [notice for is_so, notice in told if is_so]

    def _signature(self, text: str) -> bytes | None:
        authority = self._authority()
        if authority is not None:
            return signatures.signature_of(authority.key, text)
        try:
            signature = (self.home.lib / SIGNATURE_FILE).read_bytes()
            signatures.verify(self._authority_key(), text, signature)
        except (OSError, NotPermittedError):
            return None
        return signature

    async def settings_received(self, peer: str, message: messages.Settings) -> None:
        """Take over settings that the authority wrote, if ours are older.

        Raises:
            UnwritableError: the disk is full, or refuses; all stays as it was, and the peer tells it again.
        """
        signatures.verify(self._authority_key(), message.text, message.signature)
        settings = reader.parse(message.text, f"the configuration from {peer}")
        if self._authority() is not None or settings.cluster != self.settings.cluster:
            return
        with files.locked(self.home):
            ours = files.loaded(self.home)
            if settings.revision < ours.revision:
                return
            if settings == ours == self.settings:
                return
            try:
                # Before what it is for: without it nobody here could pass that on, and nobody would send it again.
                files.write(self.home.lib / SIGNATURE_FILE, message.signature, 0o600)
                if settings != ours:  # else it was copied here, and counts from now on
                    files.store(self.home, settings)
            except OSError as error:
                raise UnwritableError(f"the configuration from {peer} cannot be written: {error}") from error
        log.info("configuration of revision %d from %s", settings.revision, peer)
        self._changed()

    def skew(self, peer: str, skew_ns: int) -> None:
        """Note how far a peer's clock is from ours; what it says takes a while to come, so small differences mean nothing.

        What a cable that was cut has held up comes late, all at once, and looks like a clock that is behind.
        """
        skew_s, now_s, known = skew_ns / 1e9, time.monotonic(), self.skews.get(peer)
        told_s, at_s = self._told_skews.get(peer, (skew_s, -math.inf))
        self._told_skews[peer] = skew_s, now_s
        is_told_twice = abs(skew_s - told_s) <= SKEW_S_MAX / 2 and now_s - at_s >= APART_S
        if known is not None and skew_s < known - SKEW_S_MAX / 2 and not is_told_twice:
            return
        was_off = abs(known or 0.0) > SKEW_S_MAX
        self.skews[peer] = skew_s
        if (abs(self.skews[peer]) > SKEW_S_MAX) != was_off:
            say = log.info if was_off else log.warning
            say("peer %s: its clock is off by %.1f s; check time synchronisation", peer, self.skews[peer])

    # -------------------------------------------------------------------------------------------------- letting hosts in

    def _authority(self) -> Authority | None:
        try:
            return certificates.load_authority(self.home.keys)
        except NotPermittedError:
            return None

    def _authority_key(self) -> ec.EllipticCurvePublicKey:
        data = (self.home.keys / certificates.AUTHORITY_CERTIFICATE).read_bytes()
        key = x509.load_pem_x509_certificate(data).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    def invite(self, member: str, lifetime_s: float) -> str:
        """Return the text of a new token for `member`.

        Raises:
            NotPermittedError: this host is not where `csfs init` ran.
            ConfigError: the name cannot be used, or is a member's.
        """
        authority = certificates.load_authority(self.home.keys)
        if member in self.settings.member_names:
            raise ConfigError(f"{member} is a member already; choose another name")
        lifetime = datetime.timedelta(seconds=lifetime_s)
        invitations = Invitations(self.home.keys)
        point = public_point(authority.key.public_key())
        return invitations.invite(member, point, lifetime, now()).text()

    def check_removable(self, member: str) -> None:
        """Make sure that a member can be taken out of the cluster here.

        Raises:
            NotPermittedError: this host is not where `csfs init` ran.
            ConfigError: it is no member, or this one, or cannot be spared.
        """
        certificates.load_authority(self.home.keys)
        if member == self.member:
            raise ConfigError(f"{member} is this host, which alone can change the cluster; it cannot be removed")
        without_member(self.settings, member)

    def remove(self, member: str) -> None:
        """Take a member out of the cluster: its certificates are trusted no longer, wherever this configuration arrives."""
        serials = issued.serials_of(self.home.keys, member)
        files.change(self.home, lambda ours: without_member(ours, member, serials))
        self._changed()

    def inviter(self) -> Inviter | None:
        """Return what it takes to let a host in, None if this host cannot."""
        authority = self._authority()
        if authority is None:
            return None
        return Inviter(
            authority,
            Invitations(self.home.keys),
            lambda name: name in self.settings.member_names,
            self._admit,
            now,
            self._changed,
        )

    def _admit(self, member: str, called_at: tuple[str, ...], paths: Mapping[str, str]) -> str:
        """Put a member into the configuration and return its text."""
        try:
            parsed = tuple(addresses.parsed(address) for address in called_at)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return render.rendered(files.change(self.home, lambda ours: with_member(ours, member, parsed, paths)))


def now() -> datetime.datetime:
    """Return the time for certificates."""
    return datetime.datetime.now(datetime.UTC)


def load(home: Home, changed: Callable[[], None]) -> Cluster:
    """Return this member's cluster.

    Raises:
        CsfsError: the configuration or the keys cannot be used.
    """
    try:
        return Cluster(home, changed)
    except OSError as error:
        raise ConfigError(f"{home.etc}: {error}") from error
