"""Open the store's SQLite database: check it, and salvage its readable rows if it is damaged."""

from __future__ import annotations

import itertools
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from training.errors import StoreError

log = structlog.get_logger(__name__)

FILE = "store.sqlite"
VERSION = 2
"""Version of the rows. Since version 2, the labelled tier also has rows without a label: the context of labelled
windows, which an earlier release would take for a class."""
READABLE = 1
"""First version whose rows are still read: it has no context, and nothing else is different."""
PAGE_BYTES = 4096
WAL_BYTES = 4 * 1024 * 1024  # size of the write-ahead log before its pages are copied into the database
# Maximum number of free pages that one flush returns to the file system (16 MiB), so that a flush stays short.
MAX_TRIMMED_PAGES = 4096
# Share of the file that may be free pages, which the next flush reuses; further ones are returned to the file system.
FREE_SHARE = 0.1
# A block names its spec by a key computed from the spec's definition, so that blocks are found without the spec table.
TABLES = {
    "spec": "(key TEXT PRIMARY KEY, body TEXT)",
    "label": "(label_id TEXT PRIMARY KEY, spec TEXT, body TEXT)",
    "block": "(id INTEGER PRIMARY KEY, spec TEXT, line TEXT, source TEXT, tier INTEGER, label INTEGER,"
    " operator_ns INTEGER, first_ns INTEGER, last_ns INTEGER, added_ns INTEGER, windows INTEGER, size INTEGER,"
    " data BLOB)",
}
# Triggers keep the sums of windows and bytes, since the sidecar reads them after every flush.
DERIVED = (
    "CREATE INDEX block_time ON block(spec, line, first_ns, last_ns)",
    "CREATE INDEX block_tier ON block(spec, tier, added_ns, size, windows)",
    "CREATE TABLE total(spec TEXT, tier INTEGER, label INTEGER, by_operator INTEGER, windows INTEGER, size INTEGER,"
    " PRIMARY KEY (spec, tier, label, by_operator)) WITHOUT ROWID",
    "CREATE TRIGGER block_added AFTER INSERT ON block BEGIN"
    " INSERT INTO total VALUES (new.spec, new.tier, new.label, new.operator_ns>0, new.windows, new.size)"
    " ON CONFLICT (spec, tier, label, by_operator)"
    " DO UPDATE SET windows=windows+excluded.windows, size=size+excluded.size; END",
    "CREATE TRIGGER block_removed AFTER DELETE ON block BEGIN"
    " UPDATE total SET windows=windows-old.windows, size=size-old.size WHERE spec=old.spec AND tier=old.tier"
    " AND label=old.label AND by_operator=(old.operator_ns>0); END",
)


class Database:
    """One connection to the database at ``path``, for one thread at a time.

    Commits are synced, so that they survive a power cut. A damaged file is renamed, and its readable rows are copied
    into a new file.

    Raises:
        StoreError: if the file cannot be opened, or a later version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set_aside = 0
        self._new = path.with_suffix(".salvaged")
        with self._explained():
            self._end_salvage()
            damage = _damage(path) if path.exists() else None
            if damage is not None:
                self._salvage(damage)
            self._connection = _connect(path)
            ((version,),) = self._connection.execute("PRAGMA user_version")
            if READABLE <= version < VERSION:
                self._connection.execute(f"PRAGMA user_version={VERSION}")
                version = VERSION
        if version != VERSION:
            self.close()
            raise StoreError(
                f"{path}: the store has version {version}, not {VERSION}: install the release that wrote it"
            )

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with self._explained():
            return self._connection.execute(statement, values).fetchall()

    def each(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Run a statement and yield its rows one by one."""
        with self._explained():
            yield from self._connection.execute(statement, values)

    def run_many(self, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement once for each of ``values``."""
        with self._explained():
            self._connection.executemany(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes of the block, synced, or none of them.

        Raises:
            StoreError: if they cannot be written; nothing is changed in that case.
        """
        self.rows("BEGIN")
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have ended the transaction
                self._connection.execute("ROLLBACK")
            raise

    def copy(self, path: Path, tier: int) -> None:
        """Write specs, labels and the blocks of one tier to a new database at ``path``, synced.

        Raises:
            StoreError: if it cannot be written.
        """
        _remove(path)
        with self._explained():
            _connect(path).close()
        self.rows("ATTACH ? AS copy", str(path))
        try:
            self.rows("PRAGMA copy.journal_mode=MEMORY")  # a new file has nothing to roll back to
            self.rows("PRAGMA copy.synchronous=FULL")
            with self.transaction():
                for table in TABLES:
                    chosen = f"WHERE tier={tier}" if table == "block" else ""
                    self.rows(f"INSERT INTO copy.{table} SELECT * FROM main.{table} {chosen} ORDER BY rowid")  # noqa: S608
        finally:
            self.rows("DETACH copy")

    def trim(self) -> None:
        """Return free pages to the file system if they are more than ``FREE_SHARE`` of the file."""
        ((free,),), ((pages,),) = self.rows("PRAGMA freelist_count"), self.rows("PRAGMA page_count")
        surplus = free - int(FREE_SHARE * pages)
        if surplus > 0:
            with self._explained():
                # executescript(), since execute() would run this pragma for one page only.
                self._connection.executescript(f"PRAGMA incremental_vacuum({min(surplus, MAX_TRIMMED_PAGES)})")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            advice = "stop the process that has it open" if "locked" in str(error) else "make room"
            raise StoreError(f"{self.path}: cannot be used: {error}; {advice} or choose another folder") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: is damaged: {error}; restart, which saves all readable rows") from error

    # Salvage ------------------------------------------------------------------------------------------------------

    def _salvage(self, damage: str) -> None:
        """Copy all readable rows to a new file, rename the damaged file, and log the windows saved and lost.

        A lost window is counted if the table of blocks or its index still lists it.
        """
        _remove(self._new)
        _connect(self._new).close()
        _restore_header(self.path, self._new)
        saved = lost = 0
        with closing(_connect(self._new)) as new, closing(_reader(self.path)) as old:
            new.execute("BEGIN")
            for table in TABLES:
                for rowid, windows in sorted(_rows_named(old, table).items()):
                    try:
                        row = old.execute(f"SELECT * FROM {table} WHERE rowid=?", (rowid,)).fetchone()  # noqa: S608
                        if table == "block":
                            zlib.decompress(row[-1])
                        marks = ", ".join("?" * len(row))
                    except (sqlite3.DatabaseError, zlib.error, TypeError):
                        lost += windows
                    else:
                        new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608
                        saved += windows
            new.execute("COMMIT")
        names = (self.path.with_name(f"{self.path.stem}-{number}.aside") for number in itertools.count(1))
        aside = self.path.replace(next(name for name in names if not name.exists()))
        self._end_salvage()
        self.set_aside += 1
        log.warning("store-file-set-aside", file=str(aside), reason=damage, windows_saved=saved, windows_lost=lost)

    def _end_salvage(self) -> None:
        """Move the salvaged file into place if the damaged file was renamed; otherwise, after a kill, remove it."""
        if self._new.exists() and not self.path.exists():
            _remove(self.path)  # removes the remaining log of the damaged file
            self._new.replace(self.path)
        _remove(self._new)


def _connect(path: Path) -> sqlite3.Connection:
    """Open the database and create its tables if it is new."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # one process only, so no shared-memory file is needed
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            connection.execute("BEGIN")
            for name, columns in TABLES.items():
                connection.execute(f"CREATE TABLE {name}{columns}")
            for statement in DERIVED:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    return connection


def _damage(path: Path) -> str | None:
    """Return the first inconsistency of the file that SQLite finds, or None."""
    try:
        with closing(_reader(path)) as connection:
            ((found,),) = connection.execute("PRAGMA quick_check(1)")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        found = str(error)
    return None if found == "ok" else found


def _restore_header(path: Path, new: Path) -> None:
    """Replace an unreadable first page with the first page of an empty database.

    The page holds only the file's header and the schema, which are the same in both.
    """
    try:
        with closing(_reader(path)) as connection:
            connection.execute("SELECT * FROM block LIMIT 0")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        header = bytearray(new.read_bytes()[:PAGE_BYTES])
        header[28:32] = (path.stat().st_size // PAGE_BYTES).to_bytes(4, "big")  # size of the file in pages
        with path.open("r+b") as file:
            file.write(header)


def _rows_named(connection: sqlite3.Connection, table: str) -> dict[int, int]:
    """Return the row ids of a table with their number of windows, reading table and index from both ends."""
    windows, sources = "0", [(table, "rowid {0}")]
    if table == "block":
        windows = "windows"
        sources = [("block NOT INDEXED", "rowid {0}"), ("block INDEXED BY block_tier", "spec {0}, tier {0}")]
    found: dict[int, int] = {}
    for source, by in sources:
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.DatabaseError):
                query = f"SELECT rowid, {windows} FROM {source} ORDER BY {by.format(order)}"  # noqa: S608
                found.update(connection.execute(query))
    return found


def _remove(path: Path) -> None:
    """Remove a database and its log."""
    for suffix in ("", "-wal", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
