-- Schema 1. Times are Unix milliseconds. Labels (epochs) are 16 bytes. Never edited once released: later schemas add files.

-- Where an unfinished sealing stands: seal_journal (entries up to here are being sealed), seal_point (points below are done).
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- The registry.
CREATE TABLE gateway (
    no       INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    first_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE point (
    no           INTEGER PRIMARY KEY,
    gateway      INTEGER NOT NULL REFERENCES gateway (no),
    device       TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    device_name  TEXT    NOT NULL,
    place        TEXT    NOT NULL,
    profile      TEXT    NOT NULL,
    bus          TEXT    NOT NULL,
    device_index INTEGER NOT NULL,
    measurement  TEXT    NOT NULL,
    unit         TEXT    NOT NULL,
    decimals     INTEGER NOT NULL,
    interval_ms  INTEGER NOT NULL,
    described_ms INTEGER NOT NULL,
    UNIQUE (gateway, device, key)
) STRICT;

-- Equal manifests of a gateway are stored once: an ordinary restart does not change its points.
CREATE TABLE manifest (
    no      INTEGER PRIMARY KEY,
    gateway INTEGER NOT NULL REFERENCES gateway (no),
    body    BLOB    NOT NULL
) STRICT;
CREATE INDEX manifest_gateway ON manifest (gateway);

CREATE TABLE epoch (
    no       INTEGER PRIMARY KEY,
    gateway  INTEGER NOT NULL REFERENCES gateway (no),
    label    BLOB    NOT NULL,
    manifest INTEGER NOT NULL REFERENCES manifest (no),
    points   BLOB    NOT NULL,
    first_ms INTEGER NOT NULL,
    UNIQUE (gateway, label)
) STRICT;

-- How far each epoch has come; written in the transaction of the rows it speaks of.
CREATE TABLE watermark (
    epoch         INTEGER PRIMARY KEY REFERENCES epoch (no),
    committed     INTEGER NOT NULL,
    chain         INTEGER,
    end_seq       INTEGER NOT NULL,
    sealed        INTEGER NOT NULL,
    gone          INTEGER NOT NULL,
    loss_reported INTEGER NOT NULL,
    live_rank     INTEGER NOT NULL,
    held_rank     INTEGER NOT NULL,
    newest_ms     INTEGER
) STRICT;

-- Readings: the journal holds what came last, chunks hold the rest.
CREATE TABLE journal (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    rows  BLOB    NOT NULL,
    marks BLOB    NOT NULL
) STRICT;

CREATE TABLE chunk (
    id        INTEGER PRIMARY KEY,
    point     INTEGER NOT NULL,
    start_ms  INTEGER NOT NULL,
    end_ms    INTEGER NOT NULL,
    good      INTEGER NOT NULL,
    uncertain INTEGER NOT NULL,
    bad       INTEGER NOT NULL,
    min       REAL,
    max       REAL,
    sum       REAL,
    first     REAL,
    last      REAL,
    body      BLOB    NOT NULL
) STRICT;
CREATE INDEX chunk_point ON chunk (point, start_ms, end_ms);

-- The newest sealed row of each point.
CREATE TABLE latest (
    point INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    code  INTEGER NOT NULL,
    value REAL    NOT NULL
) STRICT;

-- What is missing and why.
CREATE TABLE gap (
    id        INTEGER PRIMARY KEY,
    epoch     INTEGER NOT NULL REFERENCES epoch (no),
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    reason    TEXT    NOT NULL,
    from_ms   INTEGER,
    to_ms     INTEGER,
    at_ms     INTEGER NOT NULL
) STRICT;

CREATE TABLE quarantine (
    id        INTEGER PRIMARY KEY,
    gateway   INTEGER NOT NULL REFERENCES gateway (no),
    label     BLOB,
    first_seq INTEGER,
    end_seq   INTEGER,
    form      TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    at_ms     INTEGER NOT NULL,
    raw       BLOB    NOT NULL
) STRICT;

CREATE TABLE incident (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT    NOT NULL,
    gateway   INTEGER NOT NULL REFERENCES gateway (no),
    label     BLOB,
    other     BLOB,
    first_seq INTEGER,
    last_seq  INTEGER,
    after_ms  INTEGER,
    at_ms     INTEGER NOT NULL
) STRICT;

-- Alerts: every episode as it is, the log of how it came to be so, and the memory of the engine.
CREATE TABLE episode (
    id             INTEGER PRIMARY KEY,
    rule           TEXT    NOT NULL,
    severity       TEXT    NOT NULL,
    severity_worst TEXT    NOT NULL,
    point_no       INTEGER,
    subject        TEXT    NOT NULL,
    base           TEXT,
    phase          TEXT    NOT NULL,
    started_ms     INTEGER NOT NULL,
    fired_ms       INTEGER,
    resolved_ms    INTEGER,
    ack_by         TEXT,
    ack_ms         INTEGER,
    ack_note       TEXT,
    ack_severity   TEXT,
    value          REAL,
    threshold      REAL,
    peak           REAL,
    late           INTEGER NOT NULL
) STRICT;
CREATE INDEX episode_open ON episode (id) WHERE phase <> 'resolved';

CREATE TABLE alert_log (
    cursor         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind           TEXT    NOT NULL,
    at_ms          INTEGER NOT NULL,
    id             INTEGER NOT NULL,
    rule           TEXT    NOT NULL,
    severity       TEXT    NOT NULL,
    severity_worst TEXT    NOT NULL,
    point_no       INTEGER,
    subject        TEXT    NOT NULL,
    base           TEXT,
    phase          TEXT    NOT NULL,
    started_ms     INTEGER NOT NULL,
    fired_ms       INTEGER,
    resolved_ms    INTEGER,
    ack_by         TEXT,
    ack_ms         INTEGER,
    ack_note       TEXT,
    ack_severity   TEXT,
    value          REAL,
    threshold      REAL,
    peak           REAL,
    late           INTEGER NOT NULL
) STRICT;

CREATE TABLE alert_state (key TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Sealed part of the engine's marks; newer ones are in the journal.
CREATE TABLE mark (
    point     INTEGER PRIMARY KEY,
    newest_ms INTEGER,
    data_ms   INTEGER
) STRICT;
