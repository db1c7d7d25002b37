#![no_main]

commonwatch_fuzz::target!(loki_pb);
