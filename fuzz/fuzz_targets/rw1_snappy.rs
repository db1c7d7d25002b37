#![no_main]

commonwatch_fuzz::target!(rw1_snappy);
