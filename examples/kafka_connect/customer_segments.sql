CREATE TABLE customer_segments (
    customer_id text PRIMARY KEY,
    segment_id text,
    segment_name text,
    since timestamptz NOT NULL,
    version bigint NOT NULL,
    consent_marketing boolean -- null: not known
);
-- Who may be contacted.
CREATE VIEW audience AS
    SELECT customer_id, segment_id FROM customer_segments
    WHERE segment_id IS NOT NULL AND consent_marketing IS NOT FALSE;
