#![no_main]

commonwatch_fuzz::target!(zstd_gzip_limit);
