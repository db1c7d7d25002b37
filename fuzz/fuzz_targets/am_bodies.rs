#![no_main]

commonwatch_fuzz::target!(am_bodies);
