//! One TOML file; unknown keys are refused.
