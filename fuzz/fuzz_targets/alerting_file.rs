#![no_main]

commonwatch_fuzz::target!(alerting_file);
