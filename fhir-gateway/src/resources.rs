//! The table of resource types and their search parameters.
