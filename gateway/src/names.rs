//! How the name of a type or a method may be written in a path.

use crate::export::last_part;

/// The ways to write a method's name: `SayHello`, `sayHello` and `say-hello`. The name itself is the first.
pub(crate) fn of_method(name: &str) -> Vec<String> {
    let mut spellings = vec![name.to_owned()];
    for spelling in [lower_first(name), kebab(name)] {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// The ways to write a gRPC service's name: those of the last part of its name, and the whole. The whole is the first.
pub(crate) fn of_kind(full_name: &str) -> Vec<String> {
    let mut spellings = vec![full_name.to_owned()];
    for spelling in of_method(last_part(full_name)) {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_lowercase().to_string() + letters.as_str()
    })
}

/// `OrderBook` as `order-book`, `HTTPStatus` as `http-status`.
fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut kebab = String::with_capacity(name.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| letters[index]);
        let after = letters.get(index + 1);
        let begins_word = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)
            });
        if begins_word {
            kebab.push('-');
        }
        kebab.push(if *letter == '_' {
            '-'
        } else {
            letter.to_ascii_lowercase()
        });
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_may_be_written_as_it_is_in_camel_case_or_with_hyphens() {
        assert_eq!(of_method("Hello"), ["Hello", "hello"]);
        assert_eq!(of_method("SayHello"), ["SayHello", "sayHello", "say-hello"]);
        assert_eq!(of_method("hello"), ["hello"]);
        assert_eq!(of_method("HTTPStatus").last().unwrap(), "http-status");
        assert_eq!(of_method("Get2Things").last().unwrap(), "get2-things");
        assert_eq!(of_method("get_it").last().unwrap(), "get-it");
    }

    #[test]
    fn a_type_may_be_written_whole_or_by_its_last_part() {
        assert_eq!(of_kind("greeter.v1.Say"), ["greeter.v1.Say", "Say", "say"]);
        assert_eq!(of_kind("Say"), ["Say", "say"]);
    }
}
