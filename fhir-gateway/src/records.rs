//! The write pipeline: seal, store, anchor, index, answer.
