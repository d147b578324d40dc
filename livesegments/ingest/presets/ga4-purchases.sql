-- The transaction id is often "(not set)"; then the event's time and user are its id.
SELECT
    coalesce(
        nullif(nullif(value->>'$.ecommerce.transaction_id', '(not set)'), ''),
        customer_id || '-' || (value->>'$.event_timestamp')
    ) AS event_id,
    customer_id,
    make_timestamptz((value->>'$.event_timestamp')::BIGINT) AS occurred_at,
    value->>'$.ecommerce.purchase_revenue' AS amount,
    (SELECT parameter->>'$.value.string_value'
     FROM unnest(value->'$.event_params[*]') AS t(parameter)
     WHERE parameter->>'$.key' = 'currency') AS currency,
    value->>'$.ecommerce.total_item_quantity' AS items,
    value->>'$.platform' AS channel
FROM (
    SELECT value, coalesce(value->>'$.user_id', value->>'$.user_pseudo_id') AS customer_id
    FROM source
)
WHERE value->>'$.event_name' = 'purchase'
