#![no_main]

commonwatch_fuzz::target!(objects_ledger);
