"""What a conversation with a peer needs of those around it."""

from typing import Protocol

from csfs.wire.messages import Hello, PeerMessage, Settings, VolumeHello


class LinkPort(Protocol):
    """What an exchange needs of a link. `is_meeting`: the two have yet to tell each other what they have."""

    is_meeting: bool

    @property
    def is_held_back(self) -> bool: ...

    async def send(self, message: PeerMessage) -> None: ...

    async def receive(self) -> PeerMessage: ...


class Greeting(Protocol):
    """What the daemon says of this member as a whole."""

    def hello(self, volumes: tuple[VolumeHello, ...], incarnations: dict[int, str]) -> Hello: ...

    async def settings_received(self, peer: str, message: Settings) -> None: ...

    def settings_for(self, hello: Hello) -> Settings | None: ...

    def goes_by(self, settings_digest: bytes) -> bool: ...

    def skew(self, peer: str, skew_ns: int) -> None: ...
