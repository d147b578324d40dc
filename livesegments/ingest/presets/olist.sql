-- A customer has a new customer_id with each order; customer_unique_id is the person. Set
-- LIVESEGMENTS_CURRENCY=BRL.
SELECT
    order_id AS event_id,
    customers.customer_unique_id AS customer_id,
    order_purchase_timestamp::TIMESTAMP AT TIME ZONE 'America/Sao_Paulo' AS occurred_at,
    sum(payments.payment_value::DECIMAL(12,2)) AS amount,
    'BRL' AS currency
FROM source
JOIN payments USING (order_id)
JOIN customers USING (customer_id)
WHERE order_status NOT IN ('canceled', 'unavailable')
GROUP BY ALL
ORDER BY occurred_at, event_id
