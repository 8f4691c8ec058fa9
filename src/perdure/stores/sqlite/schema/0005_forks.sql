-- Requests that wait for one other alone, and chats that no list shows.

ALTER TABLE request ADD COLUMN follows TEXT;                           -- whose end it waits for; NULL = all before it in its chat
ALTER TABLE chat ADD COLUMN transient INTEGER NOT NULL DEFAULT 0;      -- in no list; removed when its request has ended
UPDATE chat SET transient = 1 WHERE id IN (SELECT chat_id FROM request WHERE transient = 1);
