-- Requests that wait for one other alone, and chats that no list shows.

ALTER TABLE request ADD COLUMN follows text;                       -- whose end it waits for; NULL = all before it in its chat
ALTER TABLE chat ADD COLUMN transient boolean NOT NULL DEFAULT false; -- in no list; removed when its request has ended
UPDATE chat SET transient = true WHERE id IN (SELECT chat_id FROM request WHERE transient);
