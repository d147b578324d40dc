-- The file has days only, and a customer may buy twice on one: the id is that of the line.
SELECT
    'cdnow-' || "row" AS event_id,
    part[1] AS customer_id,
    strptime(part[2], '%Y%m%d') AT TIME ZONE 'UTC' AS occurred_at,
    part[4] AS amount,
    part[3] AS items
FROM (SELECT "row", regexp_split_to_array(trim(line), '\s+') AS part FROM source)
ORDER BY occurred_at, "row"
