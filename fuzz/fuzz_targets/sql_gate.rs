#![no_main]

commonwatch_fuzz::target!(sql_gate);
