#![no_main]

commonwatch_fuzz::target!(remote_read);
