"""Tokens tell a member that it was restored or cloned, and tell nobody anything else."""

from csfs.core.tokens import GIVEN_MAX, NO_TOKENS, TOKEN_SIZE, Owed, Tokens, Verdict, checked, confirmed, given

KEY = b"key"


def gave(tokens: Tokens, number: int) -> tuple[Tokens, bytes]:
    return given(tokens, "beta", KEY, number.to_bytes(8, "big"))


def test_the_last_token_and_those_still_on_their_way_are_good() -> None:
    tokens, first = gave(NO_TOKENS, 1)
    tokens, second = gave(tokens, 2)
    tokens, third = gave(tokens, 3)
    tokens, verdict = checked(tokens, "beta", KEY, second)
    assert (verdict, tokens.confirmed, tokens.given) == (Verdict.GOOD, second, (third,))
    assert checked(tokens, "beta", KEY, second)[1] is Verdict.GOOD
    assert checked(tokens, "beta", KEY, first)[1] is Verdict.BEHIND
    assert checked(tokens, "beta", KEY, b"")[1] is Verdict.GOOD


def test_a_token_that_was_given_in_another_life_is_ahead() -> None:
    saved, _ = gave(NO_TOKENS, 1)
    _, later = gave(saved, 2)
    tokens, verdict = checked(saved, "beta", KEY, later)
    assert (verdict, tokens.owed, tokens.confirmed, tokens.given) == (Verdict.AHEAD, Owed.NOW, later, ())
    assert checked(tokens, "beta", KEY, later)[1] is Verdict.GOOD, "what follows is counted from there"
    assert gave(tokens, 3)[1] > later


def test_two_hosts_with_one_identity_both_find_it() -> None:
    common, _ = gave(NO_TOKENS, 1)
    one, from_one = gave(common, 2)
    other, verdict = checked(common, "beta", KEY, from_one)
    assert verdict is Verdict.AHEAD
    other, from_other = gave(other, 3)
    assert checked(one, "beta", KEY, from_other)[1] is Verdict.AHEAD
    fork, from_fork = gave(common, 4)
    assert checked(one, "beta", KEY, from_fork)[1] is Verdict.AHEAD, "the same number, and another token"
    assert checked(fork, "beta", KEY, from_one)[1] is Verdict.AHEAD


def test_nobody_can_make_one_up() -> None:
    tokens, mine = gave(NO_TOKENS, 1)
    theirs = given(NO_TOKENS, "gamma", KEY, bytes(8))[1]
    another_key = given(tokens, "beta", b"guessed", bytes(8))[1]
    numbered = (99).to_bytes(8, "big") + mine[8:]
    for made_up in (theirs, another_key, numbered, bytes(TOKEN_SIZE), b"x" * 1000, mine[:-1]):
        assert checked(tokens, "beta", KEY, made_up) == (tokens, Verdict.GOOD)
        assert confirmed(tokens, made_up) == tokens


def test_what_is_remembered_has_a_limit_beyond_which_nobody_is_suspected() -> None:
    tokens, first = gave(NO_TOKENS, 1)
    for number in range(2, 3 * GIVEN_MAX):
        tokens, _ = gave(tokens, number)
    assert len(tokens.given) == GIVEN_MAX
    assert checked(tokens, "beta", KEY, first)[1] is Verdict.GOOD
