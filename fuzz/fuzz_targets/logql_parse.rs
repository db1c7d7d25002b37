#![no_main]

commonwatch_fuzz::target!(logql_parse);
