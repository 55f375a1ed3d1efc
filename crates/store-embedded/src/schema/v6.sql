-- Schema 6: readings whose time nobody knows, and between which moments they were taken.
CREATE TABLE undated (
    point     INTEGER NOT NULL,
    epoch     INTEGER NOT NULL REFERENCES epoch (no),
    readings  INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    from_ms   INTEGER NOT NULL,
    to_ms     INTEGER NOT NULL,
    after_ms  INTEGER,
    before_ms INTEGER NOT NULL,
    PRIMARY KEY (point, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX undated_epoch ON undated (epoch);
