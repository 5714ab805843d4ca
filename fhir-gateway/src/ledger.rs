//! The chain, embedded in this process or behind CometBFT.
