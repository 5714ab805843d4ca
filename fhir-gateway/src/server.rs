//! Routes, limits and request ids.
