//! `config_audit`: what it says of real servers. The catalogue's own names are held in `catalogue`.

mod catalogue;
