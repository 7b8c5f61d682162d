//! What proto files say of the things they describe: their comments, where the descriptors of a server have them.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor, prost_types::source_code_info::Location};

/// How many characters of a comment are told.
const LENGTH_MAX: usize = 2000;

/// The comments of methods, messages, fields and enums; those of a pool are read when the first of them is asked for.
#[derive(Clone, Debug, Default)]
pub struct Comments(Vec<(DescriptorPool, ByName)>);

/// The comments of a pool, by the full names of what they are about.
type ByName = HashMap<String, String>;
/// The comments of a file, by the paths of what they are about.
type ByPath = HashMap<Vec<i32>, String>;

impl Comments {
    /// The comment before the thing in `pool` that has this full name, else the one behind it; without what it marks as
    /// internal, `(-- as here --)`. At most 2,000 characters are told.
    pub fn of(&mut self, pool: &DescriptorPool, full_name: &str) -> Option<&str> {
        let at = self.0.iter().position(|(known, _)| known == pool);
        let at = at.unwrap_or_else(|| {
            self.0.push((pool.clone(), read(pool)));
            self.0.len() - 1
        });
        self.0[at].1.get(full_name).map(String::as_str)
    }
}

fn read(pool: &DescriptorPool) -> ByName {
    let files = pool.files().map(|file| (file.name().to_owned(), by_path(&file)));
    let mut files: HashMap<String, ByPath> = files.collect();
    let mut comments = ByName::new();
    let mut take = |file: &FileDescriptor, path: &[i32], full_name: &str| {
        let comment = files.get_mut(file.name()).and_then(|file| file.remove(path));
        comments.extend(comment.map(|comment| (full_name.to_owned(), comment)));
    };
    for service in pool.services() {
        for method in service.methods() {
            take(&service.parent_file(), method.path(), method.full_name());
        }
    }
    for message in pool.all_messages() {
        let file = message.parent_file();
        take(&file, message.path(), message.full_name());
        for field in message.fields() {
            take(&file, field.path(), field.full_name());
        }
    }
    for kind in pool.all_enums() {
        take(&kind.parent_file(), kind.path(), kind.full_name());
    }
    comments
}

fn by_path(file: &FileDescriptor) -> ByPath {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.into_iter().flat_map(|info| &info.location);
    locations
        .filter_map(|location| Some((location.path.clone(), comment(location)?)))
        .collect()
}

fn comment(location: &Location) -> Option<String> {
    [location.leading_comments(), location.trailing_comments()]
        .into_iter()
        .map(plain)
        .find(|comment| !comment.is_empty())
}

/// A comment without what only the writers of the proto file need: the space that each line begins with, and what is
/// internal.
fn plain(comment: &str) -> String {
    let (mut shown, mut rest) = (String::new(), comment);
    while let Some((before, hidden)) = rest.split_once("(--") {
        shown.push_str(before);
        rest = hidden.split_once("--)").map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    let lines = shown
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.trim();
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};

    use super::*;
    use crate::fake::pool;

    #[test]
    fn methods_messages_fields_and_enums_have_what_stands_before_or_behind_them() {
        let (pool, mut comments) = (pool(), Comments::default());
        for (name, expected) in [
            (
                "shop.Shop.Order",
                Some("Orders once.\n\nWhat was ordered twice comes twice:\n  both are paid."),
            ),
            ("shop.Shop.Look", None),
            (
                "shop.OrderRequest",
                Some("What is ordered, and where it is brought."),
            ),
            ("shop.OrderRequest.name", Some("Who orders.")),
            ("shop.OrderRequest.locker", Some("The number on its door.")),
            ("shop.OrderRequest.gift", None),
            ("shop.Size", Some("How large a thing is.")),
            ("shop.Nothing", None),
        ] {
            assert_eq!(comments.of(&pool, name), expected, "{name}");
        }
    }

    #[test]
    fn a_server_without_comments_has_none() {
        let pool = pool();
        let files = pool.file_descriptor_protos().cloned();
        let file = files
            .map(|file| FileDescriptorProto {
                source_code_info: None,
                ..file
            })
            .collect();
        let bare = DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file }).unwrap();
        assert_eq!(Comments::default().of(&bare, "shop.Shop.Order"), None);
    }

    #[test]
    fn what_is_internal_or_too_long_is_not_told() {
        for (comment, expected) in [
            (
                " For all.\n(-- not\n for you --)\n Of you.\n",
                "For all.\n\nOf you.",
            ),
            ("(-- all of it --)", ""),
            ("the end (-- is missing", "the end"),
            (" --) (", "--) ("),
        ] {
            assert_eq!(plain(comment), expected);
        }
        let long = plain(&"é".repeat(3000));
        assert!(long.chars().count() == LENGTH_MAX + 1 && long.ends_with("é…"));
    }
}
