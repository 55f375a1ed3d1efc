-- Schema 2. Compaction, roll-ups, retention, corrections. Never edited once released: later schemas add files.

-- Chunks that compaction may still join; the limit is that of `chunk::FULL_ROWS`.
CREATE INDEX chunk_small ON chunk (point, start_ms) WHERE good + uncertain + bad < 4096;

-- The rows of a chunk by the hour, so that windows need not read it. Chunks of few rows have none.
CREATE TABLE hours (chunk INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

-- What remains of rows that are no longer kept one by one: windows of 1 or 24 hours.
CREATE TABLE faded (
    id       INTEGER PRIMARY KEY,
    point    INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL,
    step_h   INTEGER NOT NULL,
    body     BLOB    NOT NULL
) STRICT;
CREATE INDEX faded_point ON faded (point, step_h, start_ms, end_ms);

-- Every correction of a row, and what it said before.
CREATE TABLE correction (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    point     INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    code      INTEGER NOT NULL,
    value     REAL    NOT NULL,
    old_code  INTEGER NOT NULL,
    old_value REAL    NOT NULL,
    by_whom   TEXT    NOT NULL,
    note      TEXT    NOT NULL,
    made_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX correction_row ON correction (point, at_ms);

-- Bytes that nobody can read any more: repairs put them here instead of throwing them away.
CREATE TABLE set_aside (
    id       INTEGER PRIMARY KEY,
    origin   TEXT    NOT NULL,
    point    INTEGER,
    start_ms INTEGER,
    end_ms   INTEGER,
    why      TEXT    NOT NULL,
    body     BLOB    NOT NULL
) STRICT;
