"""What the mount remembers of a great many objects, against a plain dict of the same."""

import gc

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from csfs.mount import nodes as nodes_module
from csfs.mount.nodes import Node, Nodes, packed, unpacked
from csfs.mount.pages import Pages

AWAKE_MAX = 4

State = dict[str, object]

inodes = st.integers(1, 40) | st.integers(1, 2**64 - 1)
names = st.tuples(inodes, st.binary(min_size=1, max_size=255))
handles = st.just(b"") | st.binary(min_size=8, max_size=136)


def state_of(node: Node) -> State:
    """Return all that a node knows, but for what it is pinned by."""
    return {slot: getattr(node, slot) for slot in Node.__slots__ if slot not in ("__weakref__", "pinned")}


@st.composite
def known_nodes(draw: st.DrawFn) -> Node:
    inode = draw(inodes)
    ordinary = nodes_module._handle_start(inode) + draw(st.binary(min_size=4, max_size=4))
    node = Node(inode, draw(st.just(ordinary) | handles), draw(st.booleans()))
    node.lookups = draw(st.integers(0, 3) | st.integers(0, 2**63))
    node.names = tuple(draw(st.lists(names, min_size=1, max_size=1) | st.lists(names, max_size=3)))
    for flag in ("hidden", "kept", "no_capability", "seen"):
        setattr(node, flag, draw(st.booleans()))
    node.foreign = draw(st.none() | st.tuples(inodes, inodes))
    return node


@given(known_nodes())
def test_a_packed_node_is_as_it_was(node: Node) -> None:
    assert state_of(unpacked(node.inode, packed(node))) == state_of(node)


def test_an_ordinary_node_takes_a_few_bytes_more_than_its_name() -> None:
    node = Node(4711, nodes_module._handle_start(4711) + b"abcd", False)
    node.lookups, node.names = 2, ((12, b"name"),)
    assert len(packed(node)) == 10 + 4


@given(st.lists(st.tuples(inodes, st.binary(min_size=1, max_size=300)), max_size=60))
def test_pages_keep_what_a_dict_keeps(given_values: list[tuple[int, bytes]]) -> None:
    pages, model = Pages(), dict[int, bytes]()
    for number, value in given_values:
        assert pages.pop(number) == model.pop(number, None)
        assert len(pages) == len(model)
        pages.put(number, value)
        model[number] = value
    for number, value in model.items():
        assert pages.pop(number) == value
        assert pages.pop(number) is None
    assert len(pages) == 0
    assert not pages._pages
    assert not pages._large


class Remembering(RuleBasedStateMachine):
    """The table beside a dict; `held` are nodes that somebody works with while others come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Nodes(AWAKE_MAX)
        self.model: dict[int, State] = {}
        self.held: dict[int, Node] = {}

    @rule(node=known_nodes(), keep=st.booleans())
    def add(self, node: Node, keep: bool) -> None:
        self.held.pop(node.inode, None)
        self.table.add(node)
        self.model[node.inode] = state_of(node)
        if keep:
            self.held[node.inode] = node

    @precondition(lambda self: self.model)
    @rule(data=st.data(), hold=st.booleans())
    def change(self, data: st.DataObject, hold: bool) -> None:
        inode = data.draw(st.sampled_from(sorted(self.model)))
        node = self.table.get(inode)
        assert node is not None
        assert state_of(node) == self.model[inode]
        assert self.held.get(inode, node) is node
        node.lookups += 1
        node.no_capability = not node.no_capability
        self.model[inode] = state_of(node)
        if hold:
            self.held[inode] = node

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def change_held(self, data: st.DataObject) -> None:
        node = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        node.names = ((1, b"moved"),)
        self.model[node.inode] = state_of(node)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        del self.held[data.draw(st.sampled_from(sorted(self.held)))]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        inode = data.draw(st.sampled_from(sorted(self.model)))
        node = self.table.pop(inode)
        assert node is not None
        assert state_of(node) == self.model.pop(inode)
        assert self.held.pop(inode, node) is node
        assert self.table.get(inode) is None
        assert self.table.pop(inode) is None

    @rule(inode=inodes)
    def ask(self, inode: int) -> None:
        node = self.table.get(inode)
        assert (None if node is None else state_of(node)) == self.model.get(inode)

    @invariant()
    def counts(self) -> None:
        assert len(self.table) == len(self.model)

    def teardown(self) -> None:
        for inode, state in self.model.items():
            node = self.table.get(inode)
            assert node is not None
            assert state_of(node) == state


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(max_examples=60, stateful_step_count=40)


def test_what_nobody_holds_is_packed_and_what_is_pinned_never() -> None:
    table = Nodes(AWAKE_MAX)
    pinned = Node(1, b"", True)
    pinned.pinned = 0
    table.add(pinned)
    del pinned
    for inode in range(2, 100):
        table.add(Node(inode, b"", False))
    gc.collect()
    awake = {node.inode for node in table.awake()}
    assert 1 in awake
    assert len(awake) <= AWAKE_MAX + 1
    assert len(table) == 99


def test_a_table_of_held_nodes_shrinks_once_they_are_let_go() -> None:
    table = Nodes(AWAKE_MAX)
    held = [Node(inode, b"", False) for inode in range(50)]
    for node in held:
        table.add(node)
    assert all(table.get(node.inode) is node for node in held)
    held.clear()
    del node
    for inode in range(50, 110):
        table.add(Node(inode, b"", False))
    assert len(list(table.awake())) <= AWAKE_MAX + 1
