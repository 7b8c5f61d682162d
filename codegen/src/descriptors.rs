//! The descriptor sets that travel in the binary: what reflection answers with.

use std::collections::BTreeSet;

use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FileDescriptor, ReflectMessage, Value, prost_types::FileDescriptorProto,
};

use crate::{Error, ErrorKind, package::Package};

/// `google.protobuf.FileDescriptorSet` with its files left encoded: what a decoded one does not know would be lost.
#[derive(Clone, PartialEq, Message)]
struct EncodedSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

/// All files, each after what it imports.
pub(crate) fn all(pool: &DescriptorPool) -> Result<Vec<u8>, Error> {
    encode(pool.files())
}

/// The files of one package and what they import, each after what it imports.
pub(crate) fn of_package(pool: &DescriptorPool, package: &Package) -> Result<Vec<u8>, Error> {
    // The module of files without a package holds those of all packages, and there is one descriptor set in it.
    if package.is_unnamed() {
        return all(pool);
    }
    let mut wanted = BTreeSet::new();
    let mut open: Vec<FileDescriptor> = pool
        .files()
        .filter(|file| file.package_name() == package.name())
        .collect();
    while let Some(file) = open.pop() {
        if wanted.insert(file.name().to_owned()) {
            open.extend(file.dependencies());
        }
    }
    encode(pool.files().filter(|file| wanted.contains(file.name())))
}

fn encode(files: impl Iterator<Item = FileDescriptor>) -> Result<Vec<u8>, Error> {
    let files = files.map(|file| encode_file(&file)).collect::<Result<_, _>>()?;
    Ok(EncodedSet { files }.encode_to_vec())
}

/// Keeps the comments and every option, and leaves out the places in the file that no comment belongs to: they are most
/// of the bytes, and of no use to who asks a running service.
fn encode_file(file: &FileDescriptor) -> Result<Vec<u8>, Error> {
    let descriptor = FileDescriptorProto::default().descriptor();
    let mut message =
        DynamicMessage::decode(descriptor, file.encode_to_vec().as_slice()).map_err(|error| {
            Error::new(
                ErrorKind::Code,
                format!("read back the descriptor of `{}`", file.name()),
            )
            .with_source(error)
        })?;
    if message.has_field_by_name("source_code_info")
        && let Some(Value::Message(info)) = message.get_field_by_name_mut("source_code_info")
        && let Some(Value::List(locations)) = info.get_field_by_name_mut("location")
    {
        locations.retain(has_comment);
    }
    Ok(message.encode_to_vec())
}

fn has_comment(location: &Value) -> bool {
    location.as_message().is_some_and(|location| {
        [
            "leading_comments",
            "trailing_comments",
            "leading_detached_comments",
        ]
        .iter()
        .any(|name| location.has_field_by_name(name))
    })
}
