//! TLS reasons.
