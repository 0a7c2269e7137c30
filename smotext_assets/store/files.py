"""Files by name in a local folder: each is written whole or not at all; and locks of files.

Errors say what was refused, where, and what to do.
"""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from smotext_assets.store.quarantine import QUARANTINED

LOCK_TIMEOUT_S = 120.0
COPY_BYTES = 2**20


class Folder:
    """Files below a local folder, written whole or not at all.

    Those of quarantined tables are for their owner alone, whatever the umask says. Where they are
    `group_readable` the group of each folder may read them, too; what is there already follows at
    the next write.
    """

    grace_s = 0.0  # the lock is held: no other writer is between its part and its manifest
    restore_pauses_s = ()  # and none has to bring a file back

    def __init__(self, root: Path, *, group_readable: bool = False) -> None:
        self.root = self.spools_in = root
        self.group_readable = group_readable

    def __str__(self) -> str:
        return str(self.root)

    def lock(self, table: str) -> AbstractContextManager[None]:
        return file_lock(self.root / table / ".lock", timeout_s=LOCK_TIMEOUT_S)

    def get(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes] | None:
        try:
            return (self.root / name).open("rb")
        except FileNotFoundError:
            return None

    def spool(self) -> IO[bytes]:
        """A nameless file on the same disk, to be filled and then put: a crash leaves nothing."""
        with _explained(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self.root)

    def put(self, name: str, data: bytes | IO[bytes]) -> None:
        path = self.root / name
        temporary = path.parent / f".tmp-{uuid.uuid4().hex}"
        quarantined = Path(name).parts[0] in QUARANTINED
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            for table in QUARANTINED:
                self._close_to_others(self.root / table)
            try:
                mode = 0o600 if quarantined else 0o666
                created = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
                with open(created, "wb") as file:
                    if quarantined and self.group_readable:
                        self._open_to_group(path.parent)
                        os.fchmod(created, 0o640)
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        data.seek(0)
                        shutil.copyfileobj(data, file, COPY_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(path.parent)

    def _close_to_others(self, folder: Path) -> None:
        """A quarantined table's folder, all of whose files follow where the group is let in."""
        with suppress(PermissionError, FileNotFoundError):  # another owner's, or not there (yet)
            mode = stat.S_IMODE(folder.stat().st_mode)
            if not self.group_readable and mode & 0o077:
                folder.chmod(mode & 0o7700)
            elif self.group_readable and mode & 0o077 != 0o050:
                for below in folder.rglob("*"):
                    may = 0o050 if below.is_dir() else 0o040
                    below.chmod(stat.S_IMODE(below.stat().st_mode) & 0o7700 | may)
                folder.chmod(mode & 0o7700 | 0o050)  # the last: a kill before it is made good

    def _open_to_group(self, folder: Path) -> None:
        """And those between it and its table's, which the umask may have closed."""
        while folder.parent != self.root:
            mode = stat.S_IMODE(folder.stat().st_mode)
            if mode & 0o077 != 0o050:
                with suppress(PermissionError):  # as above
                    folder.chmod(mode & 0o7700 | 0o050)
            folder = folder.parent

    def list(self, prefix: str) -> dict[str, float]:
        found = {}
        for folder, _, files in os.walk(self.root / prefix, onerror=_raise_unless_absent):
            for file in files:
                path = Path(folder, file)
                with suppress(FileNotFoundError):  # deleted since it was listed
                    found[path.relative_to(self.root).as_posix()] = (
                        time.time() - path.stat().st_mtime
                    )
        return found

    def delete(self, name: str) -> None:
        path = self.root / name
        if not path.exists():
            return
        with _explained(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        for folder in path.parents:  # an empty label=<slug> would still tell the label
            if folder.parent == self.root or any(folder.iterdir()):
                break
            folder.rmdir()

    def delete_unless(self, name: str, needed: Callable[[], bool]) -> None:
        """Delete, unless it is needed; the lock is held, so that nobody changes that meanwhile."""
        if not needed():
            self.delete(name)

    def purge(self) -> None:
        """A folder keeps no older versions."""


@contextmanager
def file_lock(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold `path` alone among processes and threads; the system frees it if the holder dies.

    Raises:
        TimeoutError: another holder kept it for `timeout_s` seconds.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"another process has held {path} for {timeout_s:g} s; "
                        "let it finish, or stop it, then try again"
                    ) from None
                time.sleep(0.01)
        yield


def sync_folder(folder: Path) -> None:
    """Make a rename or a removal in `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Say where there is no room: the error of a nameless file that grows does not."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or error.strerror != os.strerror(errno.ENOSPC):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: a partition did not fit in {folder}, what was there stays; free "
            "space on its disk, then try again",
        ) from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}: {path} could not be written, what was there stays; free "
            "space on its disk, make its folder writable or choose another one, then try again",
        ) from error


def _raise_unless_absent(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error
