//! The access log: every permit and every denial is a leaf.
