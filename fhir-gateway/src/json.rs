//! A lossless JSON tree over the bytes that were sent.
