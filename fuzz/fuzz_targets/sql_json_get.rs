#![no_main]

commonwatch_fuzz::target!(sql_json_get);
