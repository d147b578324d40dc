-- date_created_gmt is UTC without saying so. An order comes again with each change of its status;
-- it counts once, by its id, as long as its total stays the same. Guests have the customer id 0 and
-- are left out.
SELECT
    value->>'$.id' AS event_id,
    value->>'$.customer_id' AS customer_id,
    (value->>'$.date_created_gmt') || 'Z' AS occurred_at,
    value->>'$.total' AS amount,
    value->>'$.currency' AS currency,
    (SELECT sum((line->>'$.quantity')::INTEGER)
     FROM unnest(value->'$.line_items[*]') AS t(line)) AS items,
    value->>'$.created_via' AS channel
FROM source
WHERE value->>'$.status' IN ('processing', 'completed')
  AND value->>'$.customer_id' <> '0'
