//! Configuration from outside: mistakes, sources, examples.
