#![no_main]

commonwatch_fuzz::target!(rule_file);
