SELECT
    value->>'$.order.number' AS event_id,
    value->>'$.customer.id' AS customer_id,
    value->>'$.created_at' AS occurred_at,
    (value->>'$.total')::DECIMAL(18,2) * rates.usd::DECIMAL(9,4) AS amount
FROM source JOIN rates ON rates.currency = value->>'$.currency'
WHERE value->>'$.status' = 'paid'
