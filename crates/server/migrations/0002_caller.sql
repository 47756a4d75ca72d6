-- Keyed hash of whoever submitted the job; empty for jobs of before.
ALTER TABLE jobs ADD COLUMN caller TEXT NOT NULL DEFAULT '';
