#![no_main]

commonwatch_fuzz::target!(promql_eval);
