-- Schema 4: some incidents last; a failed spool is over when it works again.
ALTER TABLE incident ADD COLUMN ended_ms INTEGER;
