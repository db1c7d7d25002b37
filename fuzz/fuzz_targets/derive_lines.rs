#![no_main]

commonwatch_fuzz::target!(derive_lines);
