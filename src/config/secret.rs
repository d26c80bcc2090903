//! Secret
