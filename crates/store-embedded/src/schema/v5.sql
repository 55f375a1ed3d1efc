-- Schema 5: chunks count their times in beats and their values in decimals (layout 6), hours stand in columns (layout 7). The
-- tables stay as they are; older layouts stay readable, older programs must not read the new ones.
SELECT 1;
