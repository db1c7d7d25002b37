#![no_main]

commonwatch_fuzz::target!(backup_listing);
