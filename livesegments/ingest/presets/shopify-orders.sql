-- total_price is in the shop's currency. Orders of guests have no customer and are left out.
SELECT
    value->>'$.id' AS event_id,
    value->>'$.customer.id' AS customer_id,
    value->>'$.created_at' AS occurred_at,
    value->>'$.total_price' AS amount,
    value->>'$.currency' AS currency,
    (SELECT sum((line->>'$.quantity')::INTEGER)
     FROM unnest(value->'$.line_items[*]') AS t(line)) AS items,
    value->>'$.source_name' AS channel
FROM source
WHERE value->>'$.financial_status' = 'paid'
  AND coalesce(value->>'$.test', 'false') = 'false'
  AND value->>'$.customer.id' IS NOT NULL
