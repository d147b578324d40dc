-- Amounts are in the smallest unit of their currency. A charge may be refunded in parts: each event
-- has the sum so far, and the sum before it in previous_attributes. One that is only authorized is
-- no purchase until it is captured.
SELECT
    CASE WHEN refunded THEN value->>'$.id' ELSE charge->>'$.id' END AS event_id,
    charge->>'$.customer' AS customer_id,
    to_timestamp((value->>'$.created')::BIGINT) AS occurred_at,
    CASE WHEN refunded THEN 'refund' ELSE 'purchase' END AS kind,
    CASE WHEN refunded
         THEN (charge->>'$.amount_refunded')::BIGINT
              - coalesce((value->>'$.data.previous_attributes.amount_refunded')::BIGINT, 0)
         ELSE coalesce(charge->>'$.amount_captured', charge->>'$.amount')::BIGINT
    END / CASE
        WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF',
                          'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 1
        WHEN currency IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN 1000
        ELSE 100
    END AS amount,
    currency
FROM (
    SELECT
        value,
        value->'$.data.object' AS charge,
        value->>'$.type' = 'charge.refunded' AS refunded,
        upper(value->>'$.data.object.currency') AS currency
    FROM source
    WHERE value->>'$.type' IN ('charge.succeeded', 'charge.captured', 'charge.refunded')
)
WHERE charge->>'$.customer' IS NOT NULL
  AND charge->>'$.captured' IS DISTINCT FROM 'false'
