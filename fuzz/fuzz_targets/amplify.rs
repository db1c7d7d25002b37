#![no_main]

commonwatch_fuzz::target!(amplify);
