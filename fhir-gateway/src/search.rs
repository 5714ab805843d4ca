//! Search requests: parsing, execution, pages.
