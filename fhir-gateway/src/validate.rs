//! What is refused before anything is stored.
