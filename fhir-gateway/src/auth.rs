//! SMART Backend Services: who calls, and what they may.
