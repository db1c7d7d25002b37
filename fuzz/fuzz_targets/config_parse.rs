#![no_main]

commonwatch_fuzz::target!(config_parse);
