//! (room ingest: to be written)
