#![no_main]

commonwatch_fuzz::target!(otlp_traces_pb);
