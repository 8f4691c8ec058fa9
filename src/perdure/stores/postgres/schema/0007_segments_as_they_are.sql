-- Segments of a few kilobytes lie in their row as they are: to compress them costs the database
-- more than their room does, since they are removed after a day.

ALTER TABLE segment SET (toast_tuple_target = 8160);
