//! Who may come in: the web configuration file, from every mistake in it to what a client with the wrong certificate sees.

mod changes;
mod clients;
mod daemon;
mod files;
mod hostile;
mod logins;
mod protocol;
mod server;
