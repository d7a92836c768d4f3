import itertools
import typing

import msgspec
import pytest

from csfs.errors import LocalProtocolError, RemoteProtocolError
from csfs.wire.conversation import TRANSITIONS, Conversation, Role, State
from csfs.wire.messages import Goodbye, Heartbeat, Hello, Join, Joined, PeerMessage, Records
from tests.wire.examples import EXAMPLES

BY_KIND = {type(example): example for example in EXAMPLES}
HELLO = BY_KIND[Hello]


def conversation(ours=Role.MEMBER, theirs=Role.MEMBER) -> Conversation:
    return Conversation("ash", ours, theirs)


def test_members_introduce_themselves_and_then_replicate_until_one_leaves():
    talk = conversation()
    for message in (HELLO, BY_KIND[Records], BY_KIND[Heartbeat], BY_KIND[Goodbye]):
        talk.hear(message)
    assert talk.their_state is State.CLOSED
    assert talk.our_state is State.GREETING
    with pytest.raises(RemoteProtocolError, match="Heartbeat while closed"):
        talk.hear(BY_KIND[Heartbeat])


def test_each_side_moves_on_its_own():
    talk = conversation()
    talk.say(HELLO)
    talk.say(BY_KIND[Records])
    with pytest.raises(RemoteProtocolError, match="Records while greeting"):
        talk.hear(BY_KIND[Records])
    with pytest.raises(LocalProtocolError, match="Hello to ash as member while replicating"):
        talk.say(HELLO)


def test_every_pair_that_is_not_in_the_table_is_refused():
    first = {Role.MEMBER: State.GREETING, Role.GUEST: State.JOINING, Role.INVITER: State.JOINING}
    for role, state, kind in itertools.product(Role, State, typing.get_args(PeerMessage)):
        if (role, state, kind) in TRANSITIONS:
            continue
        talk = conversation(role, role)
        assert talk.our_state is first[role]
        talk.our_state = talk.their_state = state
        assert not talk.may_say(kind)
        with pytest.raises(LocalProtocolError):
            talk.say(BY_KIND[kind])
        with pytest.raises(RemoteProtocolError):
            talk.hear(BY_KIND[kind])


def test_every_message_can_be_said_by_somebody():
    assert {kind for _, _, kind in TRANSITIONS} == set(typing.get_args(PeerMessage))


def test_a_guest_asks_once_and_is_answered_once():
    inviter = conversation(Role.INVITER, Role.GUEST)
    inviter.hear(BY_KIND[Join])
    inviter.say(BY_KIND[Joined])
    with pytest.raises(RemoteProtocolError):
        inviter.hear(BY_KIND[Join])
    with pytest.raises(LocalProtocolError):
        inviter.say(BY_KIND[Joined])


@pytest.mark.parametrize(
    ("change", "reason"), [({"protocol": 99}, "speaks protocol 99"), ({"member": "elm"}, "calls itself elm")]
)
def test_a_hello_has_to_fit_the_certificate_and_the_protocol(change, reason):
    talk = conversation()
    with pytest.raises(RemoteProtocolError, match=reason):
        talk.hear(msgspec.structs.replace(HELLO, **change))
    assert talk.their_state is State.GREETING
