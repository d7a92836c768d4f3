"""The volumes that the daemon works on: each begins by itself, and follows the configuration by itself."""

import contextlib
import logging
from collections.abc import Callable

import trio

from csfs.config.home import Home
from csfs.daemon.cluster import Cluster
from csfs.daemon.mounts import MountedVolume
from csfs.daemon.unusable import Unusable
from csfs.engine.brake import Limits
from csfs.errors import ConfigError, CorruptDatabaseError, CsfsError, UnwritableError
from csfs.index.database import INDEX_CURE
from csfs.index.index import Index
from csfs.replicate.volume import Volume
from csfs.replicate.watcher import Watcher
from csfs.replicate.worker import VolumeWorker
from csfs.store.boot import boot_id
from csfs.store.owners import Owners

log = logging.getLogger(__name__)


class Volumes:
    """One member's volumes by name: who works on them, and their mounts.

    `renewed` is called when this member has become another incarnation.
    """

    def __init__(
        self, home: Home, cluster: Cluster, watcher: Watcher, unusable: Unusable, renewed: Callable[[], None]
    ) -> None:
        self._home = home
        self._cluster = cluster
        self._watcher = watcher
        self._unusable = unusable
        self._renewed = renewed
        self._nursery: trio.Nursery | None = None
        self.workers: dict[str, VolumeWorker] = {}
        self.mounts: dict[str, MountedVolume] = {}

    @property
    def waiting(self) -> set[str]:
        """Volumes that stand still, or cannot follow the configuration."""
        return {*self._unusable, *(name for name, mounted in self.mounts.items() if mounted.is_behind)}

    def begin(self, nursery: trio.Nursery) -> None:
        """Work on all volumes of the configuration, in `nursery`.

        Raises:
            UnwritableError: the disk with the indexes is full, or refuses.
        """
        self._nursery = nursery
        for volume in self._cluster.settings.volumes:
            self._start(volume.name)

    def close(self) -> None:
        """Close what was opened; nobody works any more."""
        for worker in self.workers.values():
            worker.close()

    async def follow_settings(self) -> list[UnwritableError]:
        """Work on all volumes as the configuration says now; return why some cannot be, which keeps none of the others back."""
        for worker in self.workers.values():
            self._configure(worker)
        unwritable: list[UnwritableError] = []
        for name in [volume.name for volume in self._cluster.settings.volumes]:
            try:
                await self._follow(name)
            except UnwritableError as error:
                log.error("volume %s does not follow the configuration yet: %s", name, error)
                unwritable.append(error)
        return unwritable

    async def _follow(self, name: str) -> None:
        worker = self.workers.get(name)
        if worker is None:
            try:
                self._start(name)
            except UnwritableError as error:
                self._unusable.add(name, str(error))
                raise
            return
        groups = worker.volume.rules.groups
        try:
            worker.follow(self._cluster.settings.rules(name, self._cluster.member))
        except UnwritableError:
            self.mounts[name].is_behind = True
            raise
        self.mounts[name].is_behind = False
        if worker.volume.rules.groups != groups:
            await self.mounts[name].tell_changed()

    def _start(self, name: str) -> None:
        """Work on a volume from now on. One whose index cannot be read keeps none of the others back.

        Raises:
            UnwritableError: the disk with the indexes is full, or refuses.
        """
        try:
            worker = self._worker_of(name)
        except CorruptDatabaseError as error:
            log.error("volume %s stands still: %s", name, error)
            self._unusable.add(name, str(error))
            return
        except CsfsError:
            raise
        except Exception as error:  # a bug, or what it reads there is nonsense
            log.exception("volume %s stands still", name)
            self._unusable.add(name, f"{self._home.index(name)} cannot be worked with ({error!r}); {INDEX_CURE}")
            return
        self.workers[name] = worker
        self.mounts[name] = MountedVolume(worker, str(self._home.journal(name)), self._watcher)
        assert self._nursery is not None
        self._nursery.start_soon(worker.run)
        self._unusable.begun(name)

    def _worker_of(self, name: str) -> VolumeWorker:
        directory = self._home.volume_dir(name)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableError(
                f"{directory} cannot be made: {error.strerror}; is there room on its disk?"
            ) from error
        founding = self._home.founding(name)
        index = Index(
            str(self._home.index(name)), member=self._cluster.member, boot=boot_id(), founding=founding.exists()
        )
        founding.unlink(missing_ok=True)
        rules = self._cluster.settings.rules(name, self._cluster.member)
        extra_file = self._home.extra(name)
        extra = extra_file.read_text().strip() if extra_file.exists() else "keep"
        try:
            with index.opening():
                volume = Volume(
                    name, index=index, rules=rules, member=self._cluster.member, owners=Owners(), extra=extra
                )
                volume.memory.renewed = self._renewed
                worker = VolumeWorker(volume)
        except BaseException:
            index.close()
            raise
        self._configure(worker)
        return worker

    def _configure(self, worker: VolumeWorker) -> None:
        """Have a volume follow its settings; one that was removed stays as it was."""
        with contextlib.suppress(ConfigError):
            volume = self._cluster.settings.volume(worker.volume.name)
            worker.underneath.configure(watch=volume.watch, interval_s=volume.compare_s)
            worker.volume.apply_mode = volume.apply
            brake = volume.brake
            worker.applier.braking.configure(Limits(brake.share / 100, brake.paths) if brake is not None else None)
            validators = self._cluster.settings.validators(volume.name)
            worker.validation.configure(validators, str(self._home.validating(volume.name)))
            worker.actions.configure(volume.actions, volume.path_of(self._cluster.member) or "")
