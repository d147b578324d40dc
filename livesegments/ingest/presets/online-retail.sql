-- One row is a line item: an invoice is their sum. Cancellations have an invoice number with a C,
-- and negative quantities. Rows without a customer are left out. Times are those of the shop.
SELECT
    InvoiceNo AS event_id,
    split_part(CustomerID, '.', 1) AS customer_id,
    min(try_strptime(InvoiceDate, ['%m/%d/%Y %H:%M', '%Y-%m-%d %H:%M:%S'])
        AT TIME ZONE 'Europe/London') AS occurred_at,
    CASE WHEN InvoiceNo LIKE 'C%' THEN 'refund' ELSE 'purchase' END AS kind,
    abs(sum(Quantity::INTEGER * UnitPrice::DECIMAL(12,3))) AS amount,
    abs(sum(Quantity::INTEGER)) AS items
FROM source
WHERE CustomerID <> ''
GROUP BY ALL
ORDER BY occurred_at, event_id
