#![no_main]

commonwatch_fuzz::target!(auth_header);
