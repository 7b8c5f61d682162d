//! What holds of service names, and of lists of fixed addresses, whatever is written.

use micro_registry::{ServiceName, Static};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_name_is_taken_as_it_is_written_or_refused(text in any::<String>()) {
        if let Ok(name) = text.parse::<ServiceName>() {
            prop_assert_eq!(name.as_str(), text);
        }
    }

    #[test]
    fn exactly_the_grammar_is_taken(text in r"[a-zA-Z0-9._ %/-]{0,70}") {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = (1..=63).contains(&text.len())
            && text.chars().all(is_inner)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        prop_assert_eq!(text.parse::<ServiceName>().is_ok(), is_name);
    }

    #[test]
    fn a_refused_name_is_shown_on_one_line(text in any::<String>()) {
        if let Err(error) = text.parse::<ServiceName>() {
            prop_assert!(!error.to_string().contains(char::is_control), "{:?}", error);
        }
    }

    #[test]
    fn no_list_of_addresses_panics(text in r"([a-z]{0,3}[=,]?[0-9.:]{0,12}[,= ]?){0,6}|.{0,40}") {
        if let Err(error) = text.parse::<Static>() {
            prop_assert!(!error.to_string().contains(char::is_control), "{:?}", error);
        }
    }
}
