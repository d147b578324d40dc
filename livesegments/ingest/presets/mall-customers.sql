-- The file has no times: write when it was exported.
SELECT
    CustomerID AS customer_id,
    '2026-01-01T00:00:00Z' AS updated_at,
    Age AS age,
    "Annual Income (k$)"::DECIMAL(12,3) * 1000 AS income
FROM source
