-- A refund repeats the id of its order, so its own event id is that of its message.
-- Customers who are not logged in have their anonymous id: docs/sources.md says how to merge them.
SELECT
    CASE event WHEN 'Order Completed' THEN order_id ELSE value->>'$.messageId' END AS event_id,
    coalesce(value->>'$.userId', value->>'$.anonymousId') AS customer_id,
    value->>'$.timestamp' AS occurred_at,
    CASE event WHEN 'Order Completed' THEN 'purchase' ELSE 'refund' END AS kind,
    coalesce(value->'$.properties.total', value->'$.properties.revenue') AS amount,
    upper(value->>'$.properties.currency') AS currency,
    (SELECT sum(TRY_CAST(product->>'$.quantity' AS INTEGER))
     FROM unnest(value->'$.properties.products[*]') AS t(product)) AS items
FROM (
    SELECT value, value->>'$.event' AS event, value->>'$.properties.order_id' AS order_id
    FROM source
)
WHERE event IN ('Order Completed', 'Order Refunded')
