"""A group whose members have lived a great many times is told of, with what to do, long before anything is refused."""

from pathlib import Path

from csfs.config import reader
from csfs.core.versions import Incarnation
from csfs.daemon.mounts import MountedVolume
from csfs.engine.validation import INCARNATIONS_MAX
from csfs.index.index import Index
from csfs.replicate.volume import Volume
from csfs.replicate.watcher import Watcher
from csfs.replicate.worker import VolumeWorker
from csfs.store.owners import Owners
from tests.replicate.alone import SETTINGS, rules_of


async def test_a_group_of_many_lives_is_an_alarm_until_its_rules_change(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("v", index=index, rules=rules_of("v"), member="alpha", owners=Owners())
    mounted = MountedVolume(VolumeWorker(volume), str(tmp_path / "journal.db"), Watcher())
    (scope,) = volume.scopes()
    for count, is_alarm in ((INCARNATIONS_MAX // 4, False), (INCARNATIONS_MAX // 4 + 1, True)):
        with index.transaction():
            index.rows.set_knowledge(scope, {Incarnation(life): 1 for life in range(count)})
        assert bool(mounted.alarms) == is_alarm
    (alarm,) = mounted.alarms
    for words in ("the group of alpha, 4097 lives", "16384", "one more pattern in exclude"):
        assert words in alarm
    changed = SETTINGS.format(volume="v") + 'exclude = ["/nothing-is-called-so"]\n'
    volume.set_rules(reader.parse(changed, "settings").rules("v", "alpha"))
    assert mounted.alarms == []
    index.close()
