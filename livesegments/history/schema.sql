CREATE TABLE following (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);

CREATE TABLE offsets (
    topic VARCHAR,
    "partition" INTEGER,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, "partition")
);

CREATE TABLE changes (
    "partition" INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    published_at TIMESTAMP NOT NULL,
    customer_id VARCHAR NOT NULL,
    customer_key UBIGINT NOT NULL,
    change VARCHAR NOT NULL,
    previous VARCHAR,
    segment VARCHAR,
    occurred_at TIMESTAMP NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    version BIGINT NOT NULL,
    origin VARCHAR NOT NULL,
    generation BIGINT NOT NULL,
    model_version BIGINT NOT NULL,
    confidence DOUBLE,
    distance DOUBLE,
    runner_up VARCHAR,
    explanation STRUCT(
        feature VARCHAR, direction VARCHAR, z_score DOUBLE, previous_z_score DOUBLE,
        contribution DOUBLE
    )[] NOT NULL,
    other_contributions STRUCT(model DOUBLE, profile DOUBLE),
    marketing BOOLEAN
);

CREATE TABLE moves (
    hour TIMESTAMP NOT NULL,
    previous VARCHAR,
    segment VARCHAR,
    origin VARCHAR NOT NULL,
    changes BIGINT NOT NULL
);

CREATE TABLE customers (
    customer_id VARCHAR NOT NULL,
    customer_key UBIGINT NOT NULL,
    "partition" INTEGER NOT NULL,
    segment VARCHAR,
    since TIMESTAMP NOT NULL,
    version BIGINT NOT NULL,
    confidence DOUBLE,
    marketing BOOLEAN,
    generation BIGINT NOT NULL
);

CREATE TABLE definitions (
    generation BIGINT NOT NULL,
    segment VARCHAR NOT NULL,
    version BIGINT NOT NULL,
    first_published_at TIMESTAMP NOT NULL,
    published_at TIMESTAMP NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE dead_letters (
    "partition" INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    timestamp_ms BIGINT NOT NULL,
    refused_at TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    topic_partition INTEGER NOT NULL,
    topic_offset BIGINT NOT NULL,
    source VARCHAR,
    message VARCHAR NOT NULL
);

CREATE TABLE dead_letter_replays (
    "partition" INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    timestamp_ms BIGINT NOT NULL,
    replayed_at TIMESTAMP NOT NULL
);

CREATE TABLE surveyed_customers (
    customer_id VARCHAR NOT NULL,
    segment VARCHAR,
    marketing BOOLEAN,
    may_be_profiled BOOLEAN NOT NULL,
    purchases BIGINT NOT NULL,
    cents BIGINT NOT NULL,
    last_purchase DATE,
    age DOUBLE,
    income DOUBLE,
    urbanicity DOUBLE,
    unknown_features BIGINT NOT NULL,
    distance DOUBLE,
    counts_from TIMESTAMP NOT NULL,
    leaves_on DATE,
    leaves_for VARCHAR,
    margin DOUBLE
);

CREATE TABLE surveyed_purchases (
    customer_id VARCHAR NOT NULL,
    segment VARCHAR NOT NULL,
    category VARCHAR,
    purchases BIGINT NOT NULL,
    cents BIGINT NOT NULL
);
