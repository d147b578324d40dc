"""History of a deployment in a DuckDB file that follows its topics from offsets of its own.

`database` opens the file and commits; `follower` reads the topics; `tables` writes their records.
The file is a cache: it is filled from Kafka again when it is missing, of another deployment or
schema, or was not kept up for so long that deletions may have been missed.

Rows and the offsets that they were read to commit in one transaction. All times are UTC, and
segments are ids, null for no segment. The tables (`schema.sql`):

``changes``
    Every change of a customer's segment that the topic still holds
    (`livesegments.contracts.segments.SegmentChange`); ``explanation`` is a list of structures.
    ``customer_key`` is ``md5_number_lower(customer_id)``: compare it first, since a comparison of
    numbers is many times faster than one of texts.
``moves``
    Number of changes by hour of ``occurred_at``, segments and origin. It counts erased customers
    too, and changes that the topic holds no more.
``customers``
    Newest published state of each customer. Size of a segment: ``count(*) GROUP BY segment``.
``definitions``
    Newest definition of each segment in each generation, as JSON
    (`livesegments.contracts.segments.SegmentDefinition`), and when its generation was first seen.
    The topic itself keeps only the newest generation.
``dead_letters``, ``dead_letter_replays``
    Rejected records by their place, reason and origin, without key and value; those sent again.
``surveyed_customers``, ``surveyed_purchases``
    The newest survey (`livesegments.analysis.survey`): customers as they are in the store, with
    their distance to the centroid, when purchases count from, and when and for which segment they
    leave the most valuable one unless they buy; their purchases in the window by category.
``offsets``, ``following``
    Next offset of each partition; schema and identity of the file.

A null state deletes the customer's rows from ``changes`` and from every table in `FORGETTING`.
"""
