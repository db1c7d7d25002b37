#![no_main]

commonwatch_fuzz::target!(webhook_url);
