#![no_main]

commonwatch_fuzz::target!(parquet_open);
