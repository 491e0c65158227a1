"""The index of runs: one table that can be rebuilt from the run folders. SQLite, or any SQLAlchemy URL by setting."""

from __future__ import annotations

import dataclasses
import logging
import os
import statistics
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sql
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from app.jobs.folder import read_folder, run_id_of
from app.jobs.row import RunRow
from trainers.errors import AtelierError
from trainers.rundir import RunDir

log = logging.getLogger(__name__)

COLUMN_TYPES: dict[str, Any] = {"int": sql.Integer, "float": sql.Float} | dict.fromkeys(
    ("str", "Kind", "State"), sql.String
)
METADATA = sql.MetaData()
RUNS = sql.Table(
    "runs",
    METADATA,
    *(
        sql.Column(
            field.name,
            COLUMN_TYPES[str(field.type).removesuffix(" | None")],
            primary_key=field.name == "id",
            nullable=str(field.type).endswith("None"),
        )
        for field in dataclasses.fields(RunRow)
    ),
)


@dataclass(frozen=True)
class Reindexed:
    """What a look at the run folders changed. alive: runs whose worker goes on."""

    added: int
    removed: int
    alive: tuple[str, ...]


def database_url(data_dir: Path) -> str:
    """ATELIER_DATABASE_URL, or a file in the data folder."""
    return os.environ.get("ATELIER_DATABASE_URL") or f"sqlite:///{(data_dir / 'atelier.db').as_posix()}"


class Store:
    """Reads from any thread; only the supervisor writes. Raises AtelierError when the database cannot be opened."""

    def __init__(self, url: str) -> None:
        self._write = threading.RLock()
        try:
            self._engine = _open_or_rebuild(url)
        except (SQLAlchemyError, ImportError, OSError) as error:
            message = f"The index of runs cannot be opened: {str(error).splitlines()[0]}."
            raise AtelierError(message, "Check ATELIER_DATABASE_URL and the data folder.") from error

    def close(self) -> None:
        self._engine.dispose()

    def get(self, run_id: str) -> RunRow | None:
        return next(iter(self._select(RUNS.c.id == run_id)), None)

    def all(self) -> list[RunRow]:
        """Newest first."""
        return sorted(self._select(), key=lambda row: (-row.created, row.id))

    def queued(self) -> list[RunRow]:
        """In the order in which they will run."""
        return sorted(self._select(RUNS.c.state == "queued"), key=lambda row: row.position or 0)

    def _select(self, *conditions: Any) -> list[RunRow]:
        with self._engine.connect() as connection:
            return [RunRow(**row) for row in connection.execute(sql.select(RUNS).where(*conditions)).mappings()]

    def put(self, row: RunRow) -> None:
        """Insert the row, or replace the one of that id."""
        with self._write, self._engine.begin() as connection:
            connection.execute(sql.delete(RUNS).where(RUNS.c.id == row.id))
            connection.execute(sql.insert(RUNS).values(**dataclasses.asdict(row)))

    def update(self, run_id: str, **changes: Any) -> None:
        with self._write, self._engine.begin() as connection:
            connection.execute(sql.update(RUNS).where(RUNS.c.id == run_id).values(**changes))

    def delete(self, run_id: str) -> None:
        with self._write, self._engine.begin() as connection:
            connection.execute(sql.delete(RUNS).where(RUNS.c.id == run_id))

    def next_position(self) -> int:
        """The place behind the last queued run."""
        return max((row.position or 0 for row in self.queued()), default=0) + 1

    def measured_step_s(self, speed_key: str) -> float | None:
        """Median seconds per step of earlier runs of that kind on this machine; None when there is none."""
        rows = self._select(RUNS.c.speed_key == speed_key, RUNS.c.seconds_per_step.is_not(None))
        return statistics.median(cast(float, row.seconds_per_step) for row in rows) if rows else None

    def reindex(self, runs_dir: Path, skip: Collection[str] = ()) -> Reindexed:
        """Make the table say what the run folders say: those below `runs_dir` and those that it knows elsewhere.

        A folder whose events have not grown since its row was written is not read again; skip: ids that are left alone.
        """
        known = {row.id: row for row in self.all() if row.id not in skip}
        below = {file.parent for file in runs_dir.resolve().glob("*/config.toml")}
        folders = {Path(row.path) for row in known.values()} | {path for path in below if run_id_of(path) not in skip}
        added, alive, seen = 0, [], set()
        for path in folders:
            if not (path / "config.toml").is_file():
                continue
            fresh = read_folder(RunDir(path), known)
            seen.add(fresh.row.id)
            if fresh.alive:
                alive.append(fresh.row.id)
            if fresh.row != known.get(fresh.row.id):
                added += fresh.row.id not in known
                self.put(fresh.row)
        for run_id in known.keys() - seen:
            self.delete(run_id)
        return Reindexed(added, len(known.keys() - seen), tuple(alive))


def _open_or_rebuild(url: str) -> Engine:
    """A damaged SQLite file is set aside: the run folders hold everything that was in it."""
    try:
        return _open(url)
    except DatabaseError as error:
        file = _sqlite_file(url)
        if file is None or isinstance(error, OperationalError) or not file.is_file():
            raise
        log.warning("%s is damaged (%s): it is set aside and rebuilt from the run folders", file, error.orig)
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        if (part := file.with_name(name)).exists():
            part.replace(part.with_name(f"{name}.broken"))
    return _open(url)


def _open(url: str) -> Engine:
    file = _sqlite_file(url)
    if file is None:
        engine = sql.create_engine(url, pool_pre_ping=True)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        # a connection each time costs microseconds, and no connection outlives its thread
        engine = sql.create_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
        sql.event.listen(engine, "connect", _set_pragmas)
    existing = sql.inspect(engine)
    if existing.has_table(RUNS.name):
        if {column["name"] for column in existing.get_columns(RUNS.name)} == set(RUNS.columns.keys()):
            return engine
        log.warning("the index was made by another version: it is rebuilt from the run folders")
        METADATA.drop_all(engine)
    METADATA.create_all(engine)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _sqlite_file(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
