#![no_main]

commonwatch_fuzz::target!(totals_file);
