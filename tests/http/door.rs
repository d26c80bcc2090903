//! Who may come in: the web configuration file, from every mistake in it to what a client with the wrong certificate sees.

mod files;
