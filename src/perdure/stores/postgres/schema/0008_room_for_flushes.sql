-- Room for what every flush writes. A running request's row is updated in place only while its page
-- has room for the versions that nobody has cleared away yet, and several workers fill it: else each
-- flush touches all indexes. Segments of a few kilobytes lie in their row as they are: to compress
-- them costs more than they do, and they are removed after a day.

ALTER TABLE request SET (fillfactor = 25);
ALTER TABLE segment SET (toast_tuple_target = 8160);
