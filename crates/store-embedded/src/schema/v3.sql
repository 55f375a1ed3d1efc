-- Schema 3: the quarantine remembers what became of an entry. Its bytes go once its readings are stored.
ALTER TABLE quarantine ADD COLUMN redecoded_ms INTEGER;
ALTER TABLE quarantine ADD COLUMN readings INTEGER;
