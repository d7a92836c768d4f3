"""Settings of all kinds, as hypothesis draws them."""

from hypothesis import strategies as st

from csfs.config import settings
from csfs.config.addresses import Address
from csfs.config.commands import OCCASIONS, ActionSettings, ValidatorSettings
from csfs.config.profiles import PROFILES
from csfs.config.settings import (
    APPLY_MODES,
    BrakeSettings,
    GroupSettings,
    MemberSettings,
    Settings,
    VolumeSettings,
)
from csfs.core.policies import MERGE
from csfs.core.treatment import USUAL_XATTRS

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True).filter(
    lambda name: name != settings.DEFAULT_PATH
)
hosts = st.sampled_from(["alpha.example.net", "192.0.2.7", "2001:db8::2", "fe80::1%eth0"])
addresses = st.builds(Address, hosts, st.integers(1, 65535))
includes = st.sampled_from(["/", "/network", "/a b", '/"quoted"', "/caf\u00e9", "/*/x", "/del\x7f", "/new\nline"])
excludes = st.sampled_from(["*.bak", "/x", "**/cache/tmp", "\\\\", "[a-z]", "#*#"])
commands = st.sampled_from(
    [("visudo", "-cf", "{file}"), ("/bin/sh", "-c", 'test -s "$1"', "sh", "{file}"), ("x", "a", "a={file}")]
)


acting = st.sampled_from([("systemctl", "reload", "nginx"), ("/bin/sh", "-c", "xargs -0 chown web: --")])

owners = st.sampled_from(["numeric", "www-data", "web:33"])


def unique(elements: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(elements, min_size=least, max_size=3, unique=True).map(tuple)


@st.composite
def group_settings(draw: st.DrawFn, members: tuple[str, ...]) -> GroupSettings:
    receive_only = draw(unique(st.sampled_from(members)))[: len(members) - 1]
    writers = [name for name in members if name not in receive_only]
    chosen = draw(unique(st.sampled_from(writers)))
    alone = len({*(chosen or writers), *receive_only}) < 2
    return GroupSettings(
        chosen,
        receive_only,
        draw(unique(includes, 1)),
        draw(unique(excludes)),
        tuple(sorted(draw(unique(st.sampled_from(settings.POLICIES), 1)), key=lambda name: name != MERGE)),
        draw(st.sampled_from(settings.LOCAL_CHANGES)),
        draw(st.just("async") if alone else st.sampled_from(["async", "received", "durable(1)", "quorum"])),
        draw(st.sampled_from(["10s", "1.5", "2m"])),
        draw(st.sampled_from(settings.SYNC_TIMEOUTS)),
        tuple(
            sorted((place, draw(owners)) for place in draw(unique(st.sampled_from((*members, settings.DEFAULT_PATH)))))
        ),
        draw(st.just(USUAL_XATTRS) | unique(st.sampled_from(["user.*", "trusted.md-*", "security.selinux"]), 1)),
        draw(st.booleans()),
        draw(st.just(((settings.DEFAULT_PATH, False),)) | st.just(()) | st.just(((members[0], False),))),
        draw(st.booleans()),
    )


@st.composite
def volume_settings(draw: st.DrawFn, name: str, members: tuple[str, ...]) -> VolumeSettings:
    places = draw(unique(st.sampled_from((*members, settings.DEFAULT_PATH)), 1))
    paths = tuple(sorted((place, f"/srv/{name}/at {place}") for place in places))
    groups = tuple(draw(st.lists(group_settings(members), max_size=2)))
    profile, compare = (
        draw(st.sampled_from(["", *PROFILES])),
        draw(st.sampled_from(["1d", "90", "1.5h", settings.NEVER])),
    )
    brake = draw(st.none() | st.builds(BrakeSettings, st.integers(1, 100), st.integers(1, 10_000)))
    owners = tuple(
        sorted(
            (place, draw(st.sampled_from(["numeric", "www-data", "web:33"])))
            for place in draw(unique(st.sampled_from(members)))
        )
    )
    validators = tuple(draw(st.lists(st.builds(ValidatorSettings, unique(excludes, 1), commands), max_size=2)))
    lasting = st.sampled_from(["1s", "0.5s", "5m"])
    somewhere = unique(st.sampled_from(members))
    action = st.builds(
        ActionSettings, unique(excludes, 1), acting, st.sampled_from(OCCASIONS), somewhere, lasting, lasting
    )
    actions = tuple(draw(st.lists(action, max_size=2)))
    watch, apply = draw(st.booleans()), draw(st.sampled_from(APPLY_MODES))
    return VolumeSettings(name, paths, profile, groups, watch, compare, brake, owners, apply, validators, actions)


@st.composite
def all_settings(draw: st.DrawFn) -> Settings:
    members = draw(unique(names, 1))
    volumes = tuple(draw(volume_settings(name, members)) for name in draw(unique(names)))
    return Settings(
        draw(names),
        tuple(MemberSettings(name, tuple(draw(st.lists(addresses, max_size=2, unique=True)))) for name in members),
        volumes,
        draw(st.integers(1, 2**60)),
        tuple(sorted(draw(unique(st.integers(1, 2**159).map(lambda serial: f"{serial:x}"))))),
    )
