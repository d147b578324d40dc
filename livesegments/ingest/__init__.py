"""Topic sources: records of any topic, turned into purchases, profiles or erasures by a query.

`definitions` reads SOURCES.toml; `decoding` turns keys and values of any format into JSON, with
`registry`, `avro` and `protobuf`; `query` runs a source's SQL on a micro-batch, in the connection
that `sandbox` opens, and `columns` lists what it may return; `transform` validates the rows and
makes events of them; `worker` consumes, transforms and produces in one transaction; `preparation`
checks the sources of a file, and `app` runs them. `rehearsal` shows what would become of records,
without sending. `files` runs queries on files, `replays` on dead letters. `presets` are queries to
start from.
"""
