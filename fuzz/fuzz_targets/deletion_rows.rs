#![no_main]

commonwatch_fuzz::target!(deletion_rows);
