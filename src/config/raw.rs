//! Raw
