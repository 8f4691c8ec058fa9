-- Segments of a few kilobytes lie in their row as they are: to compress them cost a third of the
-- database's work at 200 answers at once, and they are removed after a day.

ALTER TABLE segment SET (toast_tuple_target = 8160);
