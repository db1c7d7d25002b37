#![no_main]

commonwatch_fuzz::target!(mail_dialog);
