-- Set decimal.handling.mode=string on the connector. created_at is a MicroTimestamp; for a
-- Timestamp write make_timestamptz((row->>'$.created_at')::BIGINT * 1000). Names are of a table with
-- id, customer_id, total and created_at. Updates and deletes are left out: a changed total would
-- need an event of its own.
SELECT
    'order-' || (new->>'$.id') AS event_id,
    new->>'$.customer_id' AS customer_id,
    make_timestamptz((new->>'$.created_at')::BIGINT) AS occurred_at,
    new->>'$.total' AS amount
FROM (
    SELECT envelope->>'$.op' AS op, envelope->'$.after' AS new
    FROM (SELECT coalesce(value->'$.payload', value) AS envelope FROM source)
)
WHERE op IN ('c', 'r')
