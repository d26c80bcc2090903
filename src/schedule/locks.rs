//! Who may run beside whom.
