//! The one place that knows every backend by name.
