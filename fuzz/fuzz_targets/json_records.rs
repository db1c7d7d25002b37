#![no_main]

commonwatch_fuzz::target!(json_records);
