//! The rules: ingest, queries, job states, access, live hub.
