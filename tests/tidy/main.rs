//! The repository's own rules, as tests: what a reviewer would otherwise have to remember.

mod arrows;
mod docs;
mod sources;
