-- Room for what every flush writes. A running request's row is updated in place only while its page
-- has room for the versions that nobody has cleared away yet, and several workers fill it: else each
-- flush touches all indexes.

ALTER TABLE request SET (fillfactor = 25);
