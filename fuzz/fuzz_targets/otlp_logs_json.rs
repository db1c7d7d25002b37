#![no_main]

commonwatch_fuzz::target!(otlp_logs_json);
