//! The access decision, pure.
