//! Audits a server's settings and state against a catalogue of checks.

mod catalogue;
mod expr;
mod known;
mod normal;
mod path;
mod template;
mod value;
mod versions;
