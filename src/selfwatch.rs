//! selfwatch
