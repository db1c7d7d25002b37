#![no_main]

commonwatch_fuzz::target!(wal_roundtrip);
